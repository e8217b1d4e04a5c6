//! Query and form body (kms-secrets.md section 2.3): fields content type,
//! query, body.

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use strongroom::rpc::encoding::{MAX_PARAMETER_BYTES, MAX_PARAMETERS, Parameters};

use super::fields;
use super::naive::{self, Pairs};

/// Decodes as the plainest decoder does, and what was decoded survives being
/// written and read again.
///
/// # Panics
///
/// When that does not hold.
pub fn decode(data: &[u8]) {
    let [kind, query, body] = fields(data);
    let Ok(query) = std::str::from_utf8(query) else { return };
    let mut headers = HeaderMap::new();
    if let Ok(kind) = HeaderValue::from_bytes(kind) {
        headers.insert(CONTENT_TYPE, kind);
    }
    let parsed = Parameters::parse(query, body);
    match (Parameters::received(query, &headers, body), &parsed) {
        (Ok(received), Ok(parsed)) => assert!(received.iter().eq(parsed.iter())),
        (Err(refused), Err(error)) if refused == *error => {}
        (Ok(_), Err(error)) => panic!("received what does not parse: {error}"),
        (Err(_), _) => {
            let form =
                kind.len() >= 33 && kind[..33].eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
            assert!(!body.is_empty());
            assert!(!form || !headers.contains_key(CONTENT_TYPE));
        }
    }
    let expected = plainly(query.as_bytes(), body);
    assert_eq!(parsed.is_ok(), expected.is_some());
    let (Ok(parameters), Some((of_query, all))) = (parsed, expected) else { return };

    let owned = |pairs: &mut dyn Iterator<Item = (&str, &str)>| -> Pairs {
        pairs.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    };
    assert_eq!(owned(&mut parameters.iter()), all);
    assert_eq!(owned(&mut parameters.of_query()), of_query);
    assert_eq!((parameters.len(), parameters.is_empty()), (all.len(), all.is_empty()));
    for (name, value) in parameters.iter() {
        assert_eq!(parameters.get(name), Some(value));
        assert!(!name.is_empty());
        // Its neighbours are other names.
        assert!(parameters.get(&format!("{name}\0")).is_none() || all.len() > 1);
    }
    let written = naive::canonical_query(&all);
    if written.len() <= MAX_PARAMETER_BYTES {
        let again = Parameters::parse("", written.as_bytes()).unwrap();
        assert!(again.iter().eq(parameters.iter()));
        assert_eq!(again.of_query().count(), 0);
    }
}

/// The pairs of the query, and all of them, in byte order of the names.
fn plainly(query: &[u8], body: &[u8]) -> Option<(Pairs, Pairs)> {
    let pieces = |source: &[u8]| source.split(|byte| *byte == b'&').count();
    if query.len() + body.len() > MAX_PARAMETER_BYTES || pieces(query) + pieces(body) > MAX_PARAMETERS {
        return None;
    }
    let (mut of_query, of_body) = (naive::pairs(query)?, naive::pairs(body)?);
    let mut all = [of_query.clone(), of_body].concat();
    of_query.sort();
    all.sort();
    let unique = all.windows(2).all(|pair| pair[0].0 != pair[1].0);
    unique.then_some((of_query, all))
}
