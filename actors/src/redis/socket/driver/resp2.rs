use ::redis::{PushKind, Value};

use crate::redis::socket::frame::Frame;

/// On RESP2 what a subscription brings comes as a list. This tells it from the reply to a command, on a connection that
/// only subscribes.
pub(super) fn pushed(frame: Frame) -> Frame {
    let Frame::Reply(Ok(Value::Array(mut data))) = frame else { return frame };
    let kind = match data.first() {
        Some(Value::BulkString(kind)) => match kind.as_slice() {
            b"message" => Some(PushKind::Message),
            b"pmessage" => Some(PushKind::PMessage),
            b"smessage" => Some(PushKind::SMessage),
            b"subscribe" => Some(PushKind::Subscribe),
            b"psubscribe" => Some(PushKind::PSubscribe),
            b"ssubscribe" => Some(PushKind::SSubscribe),
            b"unsubscribe" => Some(PushKind::Unsubscribe),
            b"punsubscribe" => Some(PushKind::PUnsubscribe),
            b"sunsubscribe" => Some(PushKind::SUnsubscribe),
            _ => None,
        },
        _ => None,
    };
    match kind {
        Some(kind) => {
            data.remove(0);
            Frame::Push { kind, data }
        }
        None => Frame::Reply(Ok(Value::Array(data))),
    }
}
