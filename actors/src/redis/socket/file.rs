use std::path::Path;

use tokio::io::AsyncReadExt;

/// Reads a whole regular file. `None` if it cannot be read, is larger than `most_bytes`, or is not a regular file: a
/// pipe might never end.
pub(crate) async fn read(path: &Path, most_bytes: u64) -> Option<Vec<u8>> {
    if !tokio::fs::metadata(path).await.ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await.ok()?;
    let len_bytes = file.take(most_bytes + 1).read_to_end(&mut bytes).await.ok()?;
    u64::try_from(len_bytes).is_ok_and(|len_bytes| len_bytes <= most_bytes).then_some(bytes)
}
