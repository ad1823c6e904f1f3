//! Reading a request's body: up to a limit, unpacked, and no more at a time than an isolate can hold.

use crate::error::{ApiError, Result};
use crate::held::Place;
use crate::now_ms;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;
use std::io::{self, Write};
use std::ops::Deref;

/// What is beyond the limit is read and thrown away up to here: a client that is cut off in the middle of sending sees a
/// broken connection instead of the 413 that says why.
const DISCARD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A body, unpacked. Its bytes count as held until it goes.
pub(crate) struct Received {
    bytes: Vec<u8>,
    _place: Place,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What has come of a body.
struct Coming {
    /// Until no more of it is kept.
    place: Option<Place>,
    limit: usize,
    clock: fn() -> i64,
    /// Why no more of it is kept.
    refused: Option<ApiError>,
}

impl Coming {
    fn new(limit: usize, clock: fn() -> i64) -> Coming {
        Coming { place: Some(Place::new(clock())), limit, clock, refused: None }
    }

    fn refuse(&mut self, error: ApiError) -> io::Error {
        self.place = None;
        self.refused = Some(error);
        io::ErrorKind::Other.into()
    }

    fn received(self) -> Option<Received> {
        let place = self.place?;
        Some(Received { bytes: place.take((self.clock)())?, _place: place })
    }
}

impl Write for Coming {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let Some(place) = &self.place else { return Err(io::ErrorKind::Other.into()) };
        if place.length() + more.len() > self.limit {
            return Err(self.refuse(ApiError::too_large(self.limit)));
        }
        if !place.add(more, (self.clock)()) {
            return Err(self.refuse(ApiError::overloaded("more is being sent at once than can be held")));
        }
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the bytes go through. Told apart by the first of them: no JSON begins as gzip does, and a proxy that unpacks a body
/// may leave its header.
enum Way {
    Plain(Coming),
    Gzip(Box<MultiGzDecoder<Coming>>),
}

impl Way {
    fn coming(&mut self) -> &mut Coming {
        match self {
            Way::Plain(coming) => coming,
            Way::Gzip(gzip) => gzip.get_mut(),
        }
    }
}

/// The first byte of gzip (RFC 1952, 2.3.1), and a control character that no JSON text begins with.
const GZIP: u8 = 0x1f;

/// The body, or 413; 429 while too much else is being read. `limit` is that of the bytes as sent and as unpacked.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Received> {
    read_by(now_ms, body, limit).await
}

async fn read_by(clock: fn() -> i64, body: Body, limit: usize) -> Result<Received> {
    let mut frames = body.into_data_stream();
    let mut way = Way::Plain(Coming::new(limit, clock));
    let (mut length, mut is_broken) = (0_usize, false);
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| ApiError::invalid_json("the connection ended before the body did"))?;
        if length == 0 && frame.first() == Some(&GZIP) {
            way = Way::Gzip(Box::new(MultiGzDecoder::new(Coming::new(limit, clock))));
        }
        length = length.saturating_add(frame.len());
        if length > limit && way.coming().refused.is_none() {
            way.coming().refuse(ApiError::too_large(limit));
        } else if length > DISCARD_BYTES_MAX {
            break;
        } else if way.coming().refused.is_none() && !is_broken {
            is_broken = match &mut way {
                Way::Plain(coming) => coming.write_all(&frame),
                Way::Gzip(gzip) => gzip.write_all(&frame),
            }
            .is_err();
        }
    }
    // The last of what was unpacked comes out only now.
    if let Way::Gzip(gzip) = &mut way
        && !is_broken
    {
        is_broken = gzip.try_finish().is_err();
    }
    if let Some(refused) = way.coming().refused.take() {
        return Err(refused);
    }
    let finished = match way {
        _ if is_broken => None,
        Way::Plain(coming) => Some(coming),
        Way::Gzip(gzip) => gzip.finish().ok(),
    };
    let coming = finished.ok_or_else(|| ApiError::invalid_json("the body is no whole gzip"))?;
    coming.received().ok_or_else(|| ApiError::overloaded("more came at once than could be held"))
}

/// Refuses a body in an encoding that is not known here. 415 and not 400: Braze goes on trying, and loses nothing until
/// somebody has mended it (facts on Braze, 1.4).
pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<()> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim());
    match encoding {
        None | Some("") => Ok(()),
        Some(known) if ["gzip", "x-gzip", "identity"].iter().any(|name| known.eq_ignore_ascii_case(name)) => Ok(()),
        Some(_) => Err(ApiError::unknown_encoding()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::{self, HELD_BYTES_MAX, STALLED_MS};
    use axum::body::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::{FutureExt, stream};
    use std::cell::Cell;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    const LIMIT: usize = 10_000;

    thread_local! {
        static NOW: Cell<i64> = const { Cell::new(0) };
    }

    fn now() -> i64 {
        NOW.get()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Sends it in frames of so many bytes.
    fn receive(bytes: &[u8], frame: usize) -> std::result::Result<Vec<u8>, String> {
        let frames: Vec<io::Result<Bytes>> =
            bytes.chunks(frame).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let body = Body::from_stream(stream::iter(frames));
        let read = read_by(now, body, LIMIT).now_or_never().expect("nothing to wait for");
        read.map(|received| received.to_vec()).map_err(|error| error.code().to_owned())
    }

    #[test]
    fn plain_and_packed_bodies_are_the_same() {
        let text = b"{\"events\":[]}".repeat(500);
        for frame in [1, 7, 100_000] {
            assert_eq!(receive(&text, frame), Ok(text.clone()));
            assert_eq!(receive(&gzip(&text), frame), Ok(text.clone()));
            let members = [gzip(&text), gzip(b" ")].concat();
            assert_eq!(receive(&members, frame), Ok([text.as_slice(), b" "].concat()), "members follow each other");
        }
        assert_eq!(receive(b"", 1), Ok(Vec::new()));
        assert_eq!(held::bytes(), 0);
    }

    #[test]
    fn limits_hold_before_and_after_unpacking() {
        let full = vec![b' '; LIMIT];
        assert_eq!(receive(&full, 999), Ok(full.clone()));
        assert_eq!(receive(&gzip(&full), 999), Ok(full));
        let over = vec![b' '; LIMIT + 1];
        assert_eq!(receive(&over, 999), Err("too_large".to_owned()));
        for frame in [3, 100_000] {
            assert_eq!(receive(&gzip(&over), frame), Err("too_large".to_owned()), "{frame}");
        }
        assert_eq!(receive(&gzip(&vec![0; 50_000_000]), 999), Err("too_large".to_owned()));
        for broken in [&gzip(b"{}")[..12], b"\x1f\x8bno gzip at all", b"\x1f"] {
            assert_eq!(receive(broken, 5), Err("invalid_json".to_owned()), "{broken:?}");
        }
        assert_eq!(held::bytes(), 0);
    }

    #[test]
    fn who_comes_while_too_much_is_held_is_sent_away() {
        let frames = vec![Ok::<_, io::Error>(Bytes::from(vec![b' '; HELD_BYTES_MAX]))];
        let frames = Body::from_stream(stream::iter(frames));
        let held = read_by(now, frames, HELD_BYTES_MAX).now_or_never().unwrap().unwrap();
        assert_eq!(receive(b"{}", 9), Err("rate_limited".to_owned()));
        drop(held);
        assert_eq!(receive(b"{}", 9), Ok(b"{}".to_vec()));
    }

    /// As workerd leaves a request whose client has reset the connection: neither gone on with nor ended.
    #[test]
    fn what_stopped_coming_makes_room_for_others() {
        let stalled = || {
            let first = stream::iter([Ok::<_, io::Error>(Bytes::from(vec![b' '; HELD_BYTES_MAX]))]);
            Body::from_stream(first.chain(stream::pending()))
        };
        let mut context = Context::from_waker(Waker::noop());
        let mut left = pin!(read_by(now, stalled(), HELD_BYTES_MAX));
        assert!(left.as_mut().poll(&mut context).is_pending());
        NOW.set(STALLED_MS);
        assert_eq!(receive(b"{}", 9), Err("rate_limited".to_owned()));
        NOW.set(STALLED_MS + 1);
        assert_eq!(receive(b"{}", 9), Ok(b"{}".to_vec()));
        assert_eq!(held::bytes(), 0);
        // What comes of it after all is refused.
        let late = stream::iter([vec![b' '; HELD_BYTES_MAX], vec![b' ']]).then(|frame| async {
            NOW.set(NOW.get() + 2 * STALLED_MS);
            // Somebody else needs the place meanwhile.
            assert!(Place::new(now()).add(&[b' '; 9], now()));
            Ok::<_, io::Error>(Bytes::from(frame))
        });
        let late = read_by(now, Body::from_stream(late), 2 * HELD_BYTES_MAX).now_or_never().unwrap();
        assert_eq!(late.map(|_| ()).map_err(|error| error.code().to_owned()), Err("rate_limited".to_owned()));
        assert_eq!(held::bytes(), 0);
    }

    #[test]
    fn encodings() {
        let mut headers = HeaderMap::new();
        assert!(check_encoding(&headers).is_ok());
        for (encoding, known) in [("gzip", true), ("GZIP", true), ("identity", true), ("", true), ("br", false)] {
            headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            assert_eq!(check_encoding(&headers).is_ok(), known, "{encoding}");
        }
    }
}
