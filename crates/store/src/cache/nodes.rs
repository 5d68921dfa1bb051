//! The record of this process among the nodes of the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use realmgate_core::{MOST_NODES, Node, Nodes, SeenNode, SeenNodes, StoreError};

use super::{Cached, Inner};
use crate::database::Seq;

/// The interval at which a process that serves records itself.
const RECORD_EVERY: Duration = Duration::from_secs(10);

/// The maximum wait for the database when the process ends.
const LAST: Duration = Duration::from_secs(1);

impl Inner {
    /// Records this process if it serves and the last record is old. Does not wait for the
    /// database.
    pub(super) fn record_node(this: &Arc<Self>) {
        let (own, moment) = (&this.own, this.moment());
        if moment < own.due.load(Ordering::Relaxed) || own.node.lock().is_none() {
            return;
        }
        let Ok(turn) = Arc::clone(&own.turn).try_lock_owned() else {
            return;
        };
        let every = u64::try_from(RECORD_EVERY.as_nanos()).unwrap_or(u64::MAX);
        own.due.store(moment + every, Ordering::Relaxed);
        let this = Arc::clone(this);
        tokio::spawn(async move {
            let _turn = turn;
            let own = &this.own;
            let node = own.node.lock().clone();
            let Some(node) = node else {
                return;
            };
            let position = Seq(this.seen.load(Ordering::SeqCst));
            let recorded = this.database.record_node(&node, position).await;
            let has_failed = recorded.is_err();
            let has_failed_before = own.has_failed.swap(has_failed, Ordering::Relaxed);
            if let Err(error) = recorded
                && !has_failed_before
            {
                tracing::warn!(%error, "cannot record that this node serves; other nodes list it as not seen");
            }
        });
    }

    /// Deletes the record of this process.
    pub(super) async fn forget_node(&self) {
        let work = async {
            let _turn = self.own.turn.lock().await;
            let node = self.own.node.lock().take();
            match node {
                Some(node) => self.database.delete_node(node.id).await,
                None => Ok(()),
            }
        };
        let outcome = tokio::time::timeout(LAST, work).await;
        if let Err(error) = outcome.unwrap_or(Err(StoreError::Timeout)) {
            tracing::debug!(%error, "cannot delete the record of this node");
        }
    }
}

#[async_trait]
impl Nodes for Cached {
    fn serve_as(&self, node: Node) {
        let own = &self.inner.own;
        *own.node.lock() = Some(node);
        own.due.store(0, Ordering::Relaxed);
    }

    fn this_node(&self) -> Option<SeenNode> {
        let node = self.inner.own.node.lock().clone();
        node.map(|node| SeenNode {
            node,
            age: Duration::ZERO,
            position: self.inner.seen.load(Ordering::SeqCst),
            behind: 0,
        })
    }

    async fn nodes(&self) -> Result<SeenNodes, StoreError> {
        let SeenNodes {
            mut nodes,
            mut total,
        } = self.inner.database.nodes().await?;
        if let Some(own) = self.this_node() {
            // Known better than recorded.
            match nodes.iter_mut().find(|it| it.node.id == own.node.id) {
                Some(recorded) => {
                    let behind = recorded.behind;
                    *recorded = SeenNode { behind, ..own };
                }
                None => {
                    nodes.truncate(usize::from(MOST_NODES) - 1);
                    nodes.push(own);
                    total += 1;
                }
            }
        }
        nodes.sort_by(|a, b| {
            let key = |it: &SeenNode| (it.node.started, it.node.id);
            (&a.node.name, key(a)).cmp(&(&b.node.name, key(b)))
        });
        Ok(SeenNodes { nodes, total })
    }
}
