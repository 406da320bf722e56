//! The program where something around it hangs or has run out.

mod files;
