//! The health of the gRPC listener: `grpc.health.v1.Health`.

use std::sync::Arc;

use async_trait::async_trait;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::SERVICE_NAME;
use futures_util::stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::doors::readiness::Readiness;

/// The maximum size of a health request in bytes: it contains the name of a service.
pub(super) const QUESTION_BYTES: usize = 1 << 10;

/// Responds with the readiness of this process.
pub(super) struct GrpcHealth {
    readiness: Arc<Readiness>,
}

impl GrpcHealth {
    pub(super) const fn new(readiness: Arc<Readiness>) -> Self {
        Self { readiness }
    }
}

#[async_trait]
impl Health for GrpcHealth {
    /// Responds for the server as a whole, which has the empty name, and for the service that it
    /// serves.
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !["", SERVICE_NAME].contains(&&*service) {
            return Err(Status::not_found("unknown service"));
        }
        let status = match self.readiness.check().await {
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        };
        let status = status.into();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = stream::Empty<Result<HealthCheckResponse, Status>>;

    /// Is not served: a stream would last as long as its client likes. Clients then call `Check`.
    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("call Check"))
    }
}
