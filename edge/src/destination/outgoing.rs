//! Calls that leave the deployment: each has a timeout, and none follows a redirect with a key in its hand.

use crate::timer::sleep;
use futures_util::future::{Either, select};
use std::pin::pin;
use std::time::Duration;
use wingbeat_engine::destinations::rate::Limits;
use worker::{AbortController, Fetch, Headers, Method, Request, RequestInit, RequestRedirect};

/// An answer, whatever its status.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) limits: Limits,
    pub(crate) body: Vec<u8>,
}

/// Posts JSON. `Err` in words when there was no whole answer in time: it may have arrived all the same.
pub(crate) async fn post_json(url: &str, bearer: &str, body: &str, timeout: Duration) -> Result<Reply, String> {
    let abort = AbortController::default();
    let signal = abort.signal();
    let call = async {
        let headers = Headers::new();
        headers.set("authorization", &format!("Bearer {bearer}"))?;
        headers.set("content-type", "application/json")?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_headers(headers).with_body(Some(body.into()));
        init.with_redirect(RequestRedirect::Manual);
        let request = Request::new_with_init(url, &init)?;
        let mut response = Fetch::Request(request).send_with_signal(&signal).await?;
        let number = |name: &str| response.headers().get(name).ok().flatten().and_then(|text| text.trim().parse().ok());
        let limits = Limits {
            remaining: number("x-ratelimit-remaining"),
            reset: number("x-ratelimit-reset"),
            retry_after: number("x-ratelimit-retry-after").or_else(|| number("retry-after")),
        };
        let body = response.bytes().await?;
        Ok::<_, worker::Error>(Reply { status: response.status_code(), limits, body })
    };
    let answered = match select(pin!(call), pin!(sleep(timeout))).await {
        Either::Left((answered, _)) => answered.map_err(|error| format!("no answer: {error}")),
        Either::Right(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
    };
    if answered.is_err() {
        abort.abort();
    }
    answered
}
