//! The routes. Stateless: parse, authenticate, route; what must last is a partition's or the Registry's.

use crate::error::ApiError;
use crate::{
    assets, changes, collect, config, connections, currents, dead_letters, decisions, erasures, event, exports, health,
    intake, link, model, prospects, settings, sites, tokens,
};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use worker::Env;
use worker::send::SendFuture;

/// All routes, also below the path of `PUBLIC_URL`.
pub(crate) fn router(env: Env) -> Router {
    let base = config::base_path(&env);
    let routes = Router::new()
        .route("/wb.js", get(script))
        .route("/sw.js", get(script))
        .route("/bind.js", get(script))
        .route("/link", post(link::post))
        .route("/link/redeem", post(link::redeem))
        .route("/collect", post(collect::post))
        .route("/api/braze/currents/events", post(currents::post))
        .route("/api/prospects", get(prospects::list))
        .route("/api/prospects/merge", post(decisions::merge))
        .route("/api/prospects/{ref}", get(prospects::one).delete(erasures::delete))
        .route("/api/prospects/{ref}/unmerge", post(decisions::unmerge))
        .route("/api/prospects/{ref}/timeline", get(prospects::timeline))
        .route("/api/prospects/{ref}/explanation", get(prospects::explanation))
        .route("/api/prospects/{ref}/identity", get(prospects::identity))
        .route("/api/erasures/{id}", get(erasures::receipt))
        .route("/api/changes", get(changes::list))
        .route("/api/exports/{table}", get(exports::get))
        .route("/api/connections", get(connections::list).put(connections::put_all))
        .route("/api/connections/{id}", get(connections::one).put(connections::put).delete(connections::delete))
        .route("/api/connections/{id}/test", post(connections::test))
        .route("/api/connections/{id}/sync", post(connections::sync))
        .route("/api/connections/{id}/preview", get(connections::preview))
        .route("/api/connections/{id}/mapping", get(connections::mapping).put(connections::put_mapping))
        .route("/api/connections/{id}/runs", get(connections::runs))
        .route("/api/connections/{id}/runs/{run}", get(connections::run))
        .route("/api/connections/{id}/records", get(connections::records))
        .route("/api/deliveries", get(connections::deliveries))
        .route("/api/deliveries/{id}/retry", post(connections::retry))
        .route("/api/events/{ref}", get(event::get))
        .route("/api/dead-letters", get(dead_letters::list))
        .route("/api/dead-letters/{id}", get(dead_letters::one))
        .route("/api/dead-letters/{id}/retry", post(dead_letters::retry))
        .route("/api/sources/currents", get(intake::get))
        .route("/api/model", get(model::get))
        .route("/api/model/draft", put(model::draft::put).delete(model::draft::delete))
        .route("/api/model/publish", post(model::versions::publish))
        .route("/api/model/versions", get(model::versions::list))
        .route("/api/model/versions/{version}", get(model::versions::one))
        .route("/api/model/backtest", get(model::backtest::get).post(model::backtest::post))
        .route("/api/model/backtest/crossings", get(model::backtest::crossings))
        .route("/api/model/properties", get(model::properties::get))
        .route("/api/model/schema", get(model::schema_of_models))
        .route("/api/model/templates", get(model::templates))
        .route("/api/settings", get(settings::get).put(settings::put))
        .route("/api/sites", get(sites::get).put(sites::put))
        .route("/api/tokens", get(tokens::list).post(tokens::make))
        .route("/api/tokens/{id}", delete(tokens::revoke))
        .route("/healthz", get(health::get))
        .route("/demo/thanks", get(demo).post(demo))
        .route("/demo/{*page}", get(demo))
        .route("/demo/", get(demo))
        .route("/demo", get(demo))
        .fallback(|| async { ApiError::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() });
    let routes = if base.is_empty() { routes } else { routes.clone().nest(&base, routes) };
    routes.with_state(env)
}

async fn script(State(env): State<Env>, uri: Uri, headers: HeaderMap) -> impl IntoResponse {
    SendFuture::new(async move { assets::script(&env, &uri, &headers).await }).await
}

async fn demo(State(env): State<Env>, uri: Uri) -> impl IntoResponse {
    SendFuture::new(async move { assets::demo(&env, uri.path()).await }).await
}
