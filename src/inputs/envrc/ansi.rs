//! `$'…'`: the quoting in which a backslash names a character.

use super::scan::{Refusal, Scanner};

impl Scanner<'_> {
    /// `$'…'`, in which a backslash names a character.
    pub(super) fn ansi_quoted(&mut self, value: &mut String) -> Result<(), Refusal> {
        let start = self.at;
        self.at += 2;
        // Bytes, because `\xc3\xa9` spells one character with two of them.
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.unterminated(start, 2)),
                Some('\'') => break,
                Some('\\') => self.ansi_escape(&mut bytes)?,
                Some(c) => {
                    bytes.extend(c.to_string().bytes());
                    self.at += c.len_utf8();
                }
            }
        }
        self.at += 1;
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(self.refuse(start..self.at, "the bytes in `$'…'` are not UTF-8 text", "not UTF-8"));
        };
        value.push_str(&text);
        Ok(())
    }

    fn ansi_escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Refusal> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.peek() else { return Ok(()) };
        self.at += c.len_utf8();
        let byte = match c {
            'a' => 7,
            'b' => 8,
            'e' | 'E' => 27,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '\'' | '"' | '?' => c as u8,
            'x' => match self.digits(16, 2) {
                // Two hexadecimal digits always fit a byte.
                Some(number) => number as u8,
                None => return self.literal_escape(start, bytes),
            },
            '0'..='7' => {
                self.at = start + 1;
                // Like a shell, the lowest eight bits of three octal digits.
                self.digits(8, 3).unwrap_or_default() as u8
            }
            'u' | 'U' => match self.digits(16, if c == 'u' { 4 } else { 8 }) {
                Some(number) => {
                    let Some(c) = char::from_u32(number) else {
                        return Err(self.refuse(start..self.at, "no such Unicode character", "no character"));
                    };
                    bytes.extend(c.to_string().bytes());
                    return Ok(());
                }
                None => return self.literal_escape(start, bytes),
            },
            _ => return self.literal_escape(start, bytes),
        };
        bytes.push(byte);
        Ok(())
    }

    /// A backslash that names nothing stands for itself.
    fn literal_escape(&mut self, start: usize, bytes: &mut Vec<u8>) -> Result<(), Refusal> {
        bytes.extend(self.text[start..self.at].bytes());
        Ok(())
    }

    fn digits(&mut self, radix: u32, most: usize) -> Option<u32> {
        let length = self.rest().chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let number = u32::from_str_radix(&self.rest()[..length], radix).ok()?;
        self.at += length;
        Some(number)
    }
}
