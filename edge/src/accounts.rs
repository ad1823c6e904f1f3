//! `GET /api/accounts/{ref}`: a company's people together (contract, row 27).

use crate::error::{ApiError, Result};
use crate::now_ms;
use crate::parameters::{Parameters, Reference};
use crate::partitions::Partitions;
use axum::Json;
use axum::extract::State;
use serde_json::Value;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::company::Company;
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn get(
    State(env): State<Env>,
    Reference(reference): Reference,
    parameters: Parameters,
) -> Result<Json<Value>> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let (domain, as_of) = (reference.to_lowercase(), now_ms());
        let mut company = Company::default();
        let query = Query::Company { domain: domain.clone(), as_of };
        for answer in Partitions::open(&env).await?.ask_all(query).await? {
            let Answer::Company(part) = answer else {
                return Err(ApiError::unavailable("a partition failed", "it gave another answer than a company"));
            };
            company.merge(*part);
        }
        let document = company.document(&domain, as_of);
        document.map(Json).ok_or_else(|| ApiError::not_found("nobody has an address at this domain"))
    })
    .await
}
