//! The routes. Stateless: parse, authenticate, route; what must last is a partition's or the Registry's.

use crate::auth::{self, Scope};
use crate::error::ApiError;
use crate::{
    accounts, assets, changes, collect, config, connections, cookie, currents, dead_letters, decisions, erasures,
    event, events, exports, health, intake, link, model, parameters, patch, prospects, settings, sites, tokens,
};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post, put};
use worker::Env;
use worker::send::SendFuture;

/// All routes, also below the path of `PUBLIC_URL`.
pub(crate) fn router(env: Env) -> Router {
    let base = config::base_path(&env);
    let guarded = |scope| {
        let env = env.clone();
        move |route: MethodRouter<Env>| route.route_layer(from_fn_with_state((env.clone(), scope), auth::guard))
    };
    let plain = |route: MethodRouter<Env>| route.route_layer(from_fn(parameters::none));
    let (read, write, admin) = (guarded(Scope::Read), guarded(Scope::Write), guarded(Scope::Admin));
    let routes = Router::new()
        .route("/wb.js", get(script))
        .route("/sw.js", get(script))
        .route("/bind.js", get(script))
        .route("/forget", post(cookie::forget))
        .route("/link", post(link::post))
        .route("/link/redeem", post(link::redeem))
        .route("/collect", post(collect::post))
        .route("/api/braze/currents/events", post(currents::post))
        .route("/api/prospects", read(get(prospects::list)))
        .route("/api/prospects/merge", write(post(decisions::merge)))
        .route(
            "/api/prospects/{ref}",
            read(get(prospects::one)).merge(write(delete(erasures::delete).patch(patch::patch))),
        )
        .route("/api/prospects/{ref}/unmerge", write(post(decisions::unmerge)))
        .route("/api/prospects/{ref}/timeline", read(get(prospects::timeline)))
        .route("/api/prospects/{ref}/explanation", read(get(prospects::explanation)))
        .route("/api/prospects/{ref}/identity", read(get(prospects::identity)))
        .route("/api/accounts/{ref}", read(get(accounts::get)))
        .route("/api/erasures", read(get(erasures::list)))
        .route("/api/erasures/{id}", read(get(erasures::receipt)))
        .route("/api/changes", read(get(changes::list)))
        .route("/api/exports/{table}", read(get(exports::get)))
        .route("/api/connections", admin(get(connections::list).put(connections::put_all)))
        .route("/api/connections/{id}", admin(get(connections::one).put(connections::put).delete(connections::delete)))
        .route("/api/connections/{id}/test", admin(post(connections::test)))
        .route("/api/connections/{id}/sync", admin(post(connections::sync)))
        .route("/api/connections/{id}/preview", admin(get(connections::preview)))
        .route("/api/connections/{id}/mapping", admin(get(connections::mapping).put(connections::put_mapping)))
        .route("/api/connections/{id}/runs", admin(get(connections::runs)))
        .route("/api/connections/{id}/runs/{run}", admin(get(connections::run)))
        .route("/api/connections/{id}/records", admin(get(connections::records)))
        .route("/api/deliveries", admin(get(connections::deliveries)))
        .route("/api/deliveries/{id}/retry", write(post(connections::retry)))
        .route("/api/events", post(events::post))
        .route("/api/events/batches", post(events::post))
        .route("/api/events/{ref}", read(plain(get(event::get))))
        .route("/api/dead-letters", read(get(dead_letters::list)))
        .route("/api/dead-letters/{id}", read(get(dead_letters::one)))
        .route("/api/dead-letters/{id}/retry", write(post(dead_letters::retry)))
        .route("/api/sources/currents", read(get(intake::get)))
        .route("/api/model", read(plain(get(model::get))))
        .route("/api/model/draft", admin(plain(put(model::draft::put).delete(model::draft::delete))))
        .route("/api/model/publish", admin(plain(post(model::versions::publish))))
        .route("/api/model/versions", read(get(model::versions::list)))
        .route("/api/model/versions/{version}", read(plain(get(model::versions::one))))
        .route(
            "/api/model/backtest",
            read(plain(get(model::backtest::get))).merge(admin(plain(post(model::backtest::post)))),
        )
        .route("/api/model/backtest/crossings", read(get(model::backtest::crossings)))
        .route(
            "/api/model/properties",
            read(plain(get(model::properties::get))).merge(admin(plain(post(model::properties::post)))),
        )
        .route("/api/model/properties/{name}", admin(delete(model::properties::delete)))
        .route("/api/model/schema", read(plain(get(model::schema_of_models))))
        .route("/api/model/templates", read(plain(get(model::templates))))
        .route("/api/settings", admin(plain(get(settings::get).put(settings::put))))
        .route("/api/sites", admin(plain(get(sites::get).put(sites::put))))
        .route("/api/tokens", admin(plain(get(tokens::list).post(tokens::make))))
        .route("/api/tokens/{id}", admin(delete(tokens::revoke)))
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
    SendFuture::new(async move { assets::demo(&env, &uri).await }).await
}
