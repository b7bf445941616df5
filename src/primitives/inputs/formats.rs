//! Data formats, checksums, versions and patterns.

use rhai::plugin::*;

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_static_module("yaml", rhai::exported_module!(yaml_functions).into())
        .register_static_module("json", rhai::exported_module!(json_functions).into())
        .register_static_module("toml", rhai::exported_module!(toml_functions).into())
        .register_static_module("base64", rhai::exported_module!(base64_functions).into())
        .register_static_module("hash", rhai::exported_module!(hash_functions).into())
        .register_static_module("keys", rhai::exported_module!(keys_functions).into())
        .register_static_module("semver", rhai::exported_module!(semver_functions).into());
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod yaml_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::inputs::formats::yaml;
    use crate::primitives::inputs::taint::{compute, from_json, json, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Reads a YAML text with one document.
    ///
    /// ```rhai
    /// yaml::parse("cores: 4").cores == 4
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse(document: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&document], || yaml::parse("the text", &text("yaml::parse", &document)?).map(from_json))
    }

    /// Reads all documents of a YAML text, as a list.
    ///
    /// ```rhai
    /// yaml::parse_all("a: 1\n---\nb: 2").len == 2
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse_all(documents: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&documents], || {
            let all = yaml::parse_all("the text", &text("yaml::parse_all", &documents)?)?;
            Ok(all.into_iter().map(from_json).collect::<rhai::Array>())
        })
    }

    /// Writes a value as a YAML document. Keys are sorted.
    ///
    /// ```rhai
    /// yaml::stringify(#{ cores: 4 }) == "cores: 4\n"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn stringify(value: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&value], || yaml::stringify(&json(&value)?))
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod json_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::inputs::formats::json as format;
    use crate::primitives::inputs::taint::{compute, from_json, json, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Reads a JSON text.
    ///
    /// ```rhai
    /// json::parse(`{"cores": 4}`).cores == 4
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse(document: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&document], || format::parse("the text", &text("json::parse", &document)?).map(from_json))
    }

    /// Writes a value as JSON on one line.
    ///
    /// ```rhai
    /// json::stringify([1, true]) == "[1,true]"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn stringify(value: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&value], || format::stringify(&json(&value)?))
    }

    /// Writes a value as JSON on indented lines.
    ///
    /// ```rhai
    /// json::stringify_pretty([1]) == "[\n  1\n]"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn stringify_pretty(value: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&value], || format::stringify_pretty(&json(&value)?))
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod toml_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::inputs::formats::toml;
    use crate::primitives::inputs::taint::{compute, from_json, json, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Reads a TOML text.
    ///
    /// ```rhai
    /// toml::parse("cores = 4").cores == 4
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse(document: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&document], || toml::parse("the text", &text("toml::parse", &document)?).map(from_json))
    }

    /// Writes a map as TOML, which has no word for `()`.
    ///
    /// ```rhai
    /// toml::stringify(#{ cores: 4 }) == "cores = 4\n"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn stringify(value: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&value], || toml::stringify(&json(&value)?))
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod base64_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::inputs::formats::base64;
    use crate::primitives::inputs::taint::{compute, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Encodes a text with the standard alphabet, padded and on one line.
    ///
    /// ```rhai
    /// base64::encode("ab") == "YWI="
    /// ```
    #[rhai_fn(return_raw)]
    pub fn encode(plain: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&plain], || Ok(base64::encode(text("base64::encode", &plain)?.as_bytes())))
    }

    /// Decodes a text.
    ///
    /// ```rhai
    /// base64::decode("YWI=") == "ab"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn decode(encoded: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&encoded], || base64::decode_text(&text("base64::decode", &encoded)?))
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod hash_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::inputs::formats::hash;
    use crate::primitives::inputs::taint::{compute, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// The SHA-256 checksum of a text, in lower-case hexadecimal digits.
    ///
    /// ```rhai
    /// hash::sha256("abc").len == 64
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sha256(plain: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&plain], || Ok(hash::sha256(text("hash::sha256", &plain)?.as_bytes())))
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod keys_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::inputs::formats::keys;
    use crate::primitives::inputs::taint::{compute, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// The length in bits of a public RSA key in base64, as DNS has it for signed mail; `()` where the text is no sound
    /// key, such as one that was cut short.
    ///
    /// ```rhai
    /// keys::rsa_bits("MIIBIjANBgkqhkiG9w0BAQ") == ()
    /// ```
    #[rhai_fn(return_raw)]
    pub fn rsa_bits(key: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&key], || {
            let bits = keys::rsa_bits(&text("keys::rsa_bits", &key)?);
            Ok(bits.map_or(Dynamic::UNIT, |bits| i64::from(bits).into()))
        })
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod semver_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::inputs::formats::semver;
    use crate::primitives::inputs::taint::{compute, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Whether a version meets a requirement.
    ///
    /// ```rhai
    /// semver::satisfies("v1.36.4+k3s1", ">=1.35, <1.37") == true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn satisfies(version: Dynamic, requirement: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&version, &requirement], || {
            let name = "semver::satisfies";
            semver::satisfies(&text(name, &version)?, &text(name, &requirement)?)
        })
    }

    /// Compares two versions: -1 where the first is earlier, 0 where they are equal, 1 where it is later.
    ///
    /// ```rhai
    /// semver::compare("1.9", "1.10") == -1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn compare(left: Dynamic, right: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&left, &right], || {
            let name = "semver::compare";
            Ok(semver::compare(&text(name, &left)?, &text(name, &right)?)? as i64)
        })
    }
}
