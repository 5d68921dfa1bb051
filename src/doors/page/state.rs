use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;

use super::assets::Assets;
use super::history::{self, History};
use super::site::Site;
use crate::config;
use crate::doors::health::Health;
use crate::doors::v1::V1;

/// The state of the admin page.
pub struct Page {
    pub(super) api: Arc<V1>,
    /// The router of `/v1`.
    pub(super) v1: Router,
    pub(super) health: Arc<Health>,
    pub(super) history: Arc<History>,
    pub(super) site: Site,
    pub(super) assets: Assets,
}

impl Page {
    /// Makes it for a listener at `address`, in a runtime. It counts decisions until it is dropped.
    pub fn new(
        api: Arc<V1>,
        (v1, health): (Router, Arc<Health>),
        config: &config::Admin,
        address: Option<SocketAddr>,
    ) -> Self {
        let history = Arc::new(History::default());
        if address.is_some() {
            tokio::spawn(history::follow(
                Arc::downgrade(&history),
                Arc::clone(&api.recorder),
            ));
        }
        Self {
            api,
            v1,
            health,
            history,
            site: Site::new(config, address),
            assets: Assets::new(),
        }
    }
}
