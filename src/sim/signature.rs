//! Signatures of requests to object stores: version 4 of Amazon's, as clients make them and servers check them.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use super::chance::{hex, sha256};

/// The name of the method.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What stands in names and values of a query as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is signed of a request.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// The path and the query, as they are sent.
    pub(crate) target: &'a str,
    /// The headers by their names in small letters.
    pub(crate) headers: &'a BTreeMap<String, String>,
    /// The names of those that are signed, in order.
    pub(crate) names: &'a [&'a str],
    /// The checksum of the body, or what stands in its place.
    pub(crate) payload: &'a str,
    /// The moment, as in `20260101T120000Z`.
    pub(crate) moment: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

impl Signed<'_> {
    fn day(&self) -> &str {
        self.moment.split('T').next().unwrap_or_default()
    }

    /// What the signature is good for.
    pub(crate) fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.day(), self.region, self.service)
    }

    /// The request in the one form that both sides agree on.
    fn canonical(&self) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let encoded = |text: &str| utf8_percent_encode(text, QUERY).to_string();
        let mut pairs: Vec<String> = form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value)))
            .collect();
        pairs.sort();
        let value = |name: &str| self.headers.get(name).map(|value| value.trim()).unwrap_or_default().to_owned();
        let headers: String = self.names.iter().map(|name| format!("{name}:{}\n", value(name))).collect();
        [self.method, path, &pairs.join("&"), &headers, &self.names.join(";"), self.payload].join("\n")
    }

    /// The signature that whoever knows the secret comes to.
    pub(crate) fn signature(&self, secret: &str) -> String {
        let text = [ALGORITHM, self.moment, &self.scope(), &hex(&sha256(self.canonical()))].join("\n");
        let first = format!("AWS4{secret}").into_bytes();
        let parts = [self.day(), self.region, self.service, "aws4_request", &text];
        hex(&parts.iter().fold(first, |key, part| keyed(&key, part)))
    }
}

/// The keyed checksum of a text.
fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    // Keys of all lengths are taken.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(text).finalize());
    mac.map(|code| code.into_bytes().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn signature(method: &str, target: &str, headers: &[(&str, &str)], payload: &str) -> String {
        let headers: BTreeMap<String, String> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let (moment, region, service) = ("20130524T000000Z", "us-east-1", "s3");
        Signed { method, target, headers: &headers, names: &names, payload, moment, region, service }.signature(SECRET)
    }

    /// The examples that Amazon publishes.
    #[test]
    fn signatures_are_those_of_the_published_examples() {
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let host = ("host", "examplebucket.s3.amazonaws.com");
        let date = ("x-amz-date", "20130524T000000Z");
        let get = [host, ("range", "bytes=0-9"), ("x-amz-content-sha256", nothing), date];
        assert_eq!(
            signature("GET", "/test.txt", &get, nothing),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let sum = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let put = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            host,
            ("x-amz-content-sha256", sum),
            date,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        assert_eq!(
            signature("PUT", "/test%24file.text", &put, sum),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        let list = [host, ("x-amz-content-sha256", nothing), date];
        assert_eq!(
            signature("GET", "/?max-keys=2&prefix=J", &list, nothing),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
        assert_eq!(
            signature("GET", "/?lifecycle", &list, nothing),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
    }
}
