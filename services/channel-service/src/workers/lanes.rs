//! Which task is whose work.

use std::sync::Arc;

use messaging::lanes::{HandleTask, LaneError, Lease, Next, Task};

use crate::flows::ai_reply::{ReplySender, SEND_REPLY};
use crate::flows::hand_over::{CLEAR_BUBBLE, HAND_OVER, HandOver};
use crate::flows::send_message::Sender;

/// Everybody who works on lanes.
pub struct LaneWork {
    /// Sends messages.
    pub sender: Arc<Sender>,
    /// Sends what the AI answers.
    pub replies: ReplySender,
    /// Hands messages over to the AI.
    pub hand_over: HandOver,
}

impl HandleTask for LaneWork {
    /// As senders do. What is handed over is the same done twice, so nobody asks whether it was begun.
    const BEGINS_ITSELF: bool = Sender::BEGINS_ITSELF;

    async fn handle(&self, lease: &Lease, task: &Task) -> Result<Next, LaneError> {
        match task.kind.as_str() {
            HAND_OVER | CLEAR_BUBBLE => self.hand_over.handle(lease, task).await,
            SEND_REPLY => self.replies.handle(lease, task).await,
            _ => self.sender.handle(lease, task).await,
        }
    }
}
