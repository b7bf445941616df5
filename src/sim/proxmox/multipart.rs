//! Bodies with a file in them, read as strictly as the API reads them: some fields in one order, the file last.

use super::answer::Refusal;
use super::checksum::Sums;
use super::form::{Form, Given};
use super::transfer::Upload;
use crate::sim::chance::{hex, sha256};

/// The fields that may come before the file, in the order in which they must.
const FIELDS: [&str; 3] = ["content", "checksum-algorithm", "checksum"];

/// How much of a file is kept, to see what it is.
const HEAD: usize = 512;

/// The boundary of a multipart content type; `None` for others.
pub(crate) fn boundary(kind: &str) -> Option<&str> {
    let mut parts = kind.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let named = parts.filter_map(|part| part.trim().split_once('='));
    let mut found =
        named.filter(|(name, _)| name.trim() == "boundary").map(|(_, value)| value.trim().trim_matches('"'));
    found.find(|value| !value.is_empty())
}

/// Reads a body.
pub(crate) fn read(boundary: &str, body: &[u8]) -> Result<(Form, Upload), Refusal> {
    let bad = || Refusal::silent(400, "Bad Request");
    let opening = format!("--{boundary}");
    let mut rest = &body[find(body, opening.as_bytes()).ok_or_else(bad)? + opening.len()..];
    let mut form = Form::new();
    let mut fields = FIELDS.iter();
    loop {
        let end = find(rest, b"\r\n\r\n").ok_or_else(bad)?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"));
        let disposition = disposition.filter(|line| line.contains("form-data")).ok_or_else(bad)?;
        let name = quoted(disposition, "name").ok_or_else(bad)?;
        if let Some(file) = quoted(disposition, "filename") {
            if name != "filename" {
                let text = format!("wrong field name '{name}' for file upload, expected 'filename'");
                return Err(Refusal::text(500, text));
            }
            let closing = format!("\r\n--{boundary}--");
            let end = rfind(rest, closing.as_bytes()).ok_or_else(|| Refusal::text(500, "upload failed"))?;
            let upload = describe(&rest[..end]);
            form.insert("filename".into(), Given::One(file.trim().into()));
            form.insert("tmpfilename".into(), Given::One(upload.temporary.clone()));
            return Ok((form, upload));
        }
        // What comes out of turn is not understood.
        if !fields.any(|field| *field == name) {
            return Err(bad());
        }
        let delimiter = format!("\r\n--{boundary}");
        let end = find(rest, delimiter.as_bytes()).ok_or_else(bad)?;
        form.insert(name.into(), Given::One(String::from_utf8_lossy(&rest[..end]).trim().into()));
        rest = &rest[end + delimiter.len()..];
    }
}

fn describe(bytes: &[u8]) -> Upload {
    let sums = Sums::of(bytes);
    let name = hex(&sha256(format!("{}/{}", sums.get("sha256"), crate::sim::chance::now()))[..16]);
    Upload {
        temporary: format!("/var/tmp/pveupload-{name}"),
        length: bytes.len() as u64,
        sums,
        head: bytes[..bytes.len().min(HEAD)].to_vec(),
    }
}

fn quoted<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let start = line.find(&format!("; {name}=\""))? + name.len() + 4;
    line[start..].split('"').next()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn rfind(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).rposition(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, value: &str) -> String {
        format!("--b1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    fn file(value: &str) -> String {
        let head = "Content-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\nContent-Type: x/y";
        format!("--b1\r\n{head}\r\n\r\n{value}\r\n--b1--\r\n")
    }

    #[test]
    fn a_body_is_its_fields_and_what_its_file_is() {
        let body = [part("content", "iso"), file("abc\r\n--b1\r\nabc")].concat();
        let (form, upload) = read("b1", body.as_bytes()).unwrap();
        assert_eq!(form["content"], Given::One("iso".into()));
        assert_eq!(form["filename"], Given::One("a.iso".into()));
        assert_eq!((upload.length, upload.head.len()), (14, 14));
        assert_eq!(upload.sums, Sums::of(b"abc\r\n--b1\r\nabc"));
    }

    #[test]
    fn fields_out_of_turn_are_a_bad_request() {
        let fields = [part("content", "iso"), part("checksum", "00"), part("checksum-algorithm", "md5")];
        let body = [&fields[0], &fields[1], &fields[2], &file("abc")].map(String::as_str).concat();
        assert_eq!(read("b1", body.as_bytes()).unwrap_err(), Refusal::silent(400, "Bad Request"));
        let body = [&fields[0], &fields[2], &fields[1], &file("abc")].map(String::as_str).concat();
        assert_eq!(read("b1", body.as_bytes()).unwrap().0.len(), 5);
    }

    #[test]
    fn only_multipart_forms_have_a_boundary() {
        assert_eq!(boundary("multipart/form-data; boundary=b1"), Some("b1"));
        assert_eq!(boundary("multipart/form-data"), None);
        assert_eq!(boundary("text/plain; boundary=b1"), None);
    }
}
