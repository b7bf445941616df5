//! Public keys.

use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;

use super::base64;

/// The length in bits of an RSA key in base64, as DNS has it for signed mail; nothing where that is no whole and sound one.
pub fn rsa_bits(text: &str) -> Option<u32> {
    let bytes = base64::decode(text).ok()?;
    // The standard says the one form, everybody publishes the other.
    let key = RsaPublicKey::from_public_key_der(&bytes).or_else(|_| RsaPublicKey::from_pkcs1_der(&bytes));
    key.ok().map(|key| key.n().bits())
}

#[cfg(test)]
mod tests {
    use super::rsa_bits;

    const KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAw8/wnk2KM8341RS4LH0G6jgWXIuQkKQQr1c0CeIr9LwZ3wRJ/X9qIYQsiczB9K1Zb+DghfUHNKYlQtmniCVB7lHf18MjX3/F2iWzci36COZNvNHJQi26/PUZeyh0USIpfVRVzunQZhOPPlvG04PvUNA7COqJoS8l2U+reCW/jBoc9qFYYLM1Pb+yMFW++R4rGV4HgM1H/ra1trNxsx46NdKHY6qqPtmbhaoeVyu7UAz4/bs2E3IXh230pcSFRcW5QCA25KyZo4PRk53jOTRfrREXdXIUOpCZLfGJjaujR4U4KujBYPwNYc+CnT1sNrLerMm5DCX5my6MgltKNqVrNQIDAQAB";

    #[test]
    fn a_key_that_was_cut_short_is_none() {
        assert_eq!(rsa_bits(KEY), Some(2048));
        for broken in [&KEY[..255], &KEY[..252], "", "AAAA", "no key"] {
            assert_eq!(rsa_bits(broken), None, "{broken}");
        }
    }

    #[test]
    fn white_space_between_its_pieces_is_passed_over() {
        assert_eq!(rsa_bits(&format!("{} {}", &KEY[..200], &KEY[200..])), Some(2048));
    }
}
