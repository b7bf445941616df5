//! `$((…))`: integer expressions as in C.

/// Where variables live.
pub trait Variables {
    /// The value of a variable as a text; empty when unset.
    fn get(&self, name: &str) -> String;
    /// Assigns a variable.
    fn set(&mut self, name: &str, value: i64);
}

/// The longest expression; every level of one takes a piece of the stack.
const LONGEST: usize = 16 << 10;

type Value = Result<i64, String>;

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    variables: &'a mut dyn Variables,
    /// False in the branch of `&&`, `||` and `?:` that is not taken: nothing is assigned there.
    live: bool,
}

/// The value of an expression.
pub fn evaluate(text: &str, variables: &mut dyn Variables) -> Value {
    if text.len() > LONGEST {
        return Err("homelab sim: not simulated: an expression this long".to_owned());
    }
    let mut reader = Reader { text: text.as_bytes(), at: 0, variables, live: true };
    reader.blanks();
    if reader.at == reader.text.len() {
        return Ok(0);
    }
    let value = reader.assignment()?;
    if reader.at < reader.text.len() {
        return Err(reader.wrong());
    }
    Ok(value)
}

/// Binary operators from the loosest to the tightest, longer ones first where one starts another.
const LEVELS: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];
const ASSIGNMENTS: &[&str] = &["<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "="];

impl Reader<'_> {
    fn wrong(&self) -> String {
        format!("arithmetic expression: expecting primary: \"{}\"", String::from_utf8_lossy(self.text))
    }

    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn follows(&self, operator: &str) -> bool {
        self.text[self.at..].starts_with(operator.as_bytes())
    }

    fn accept(&mut self, operator: &str) -> bool {
        let found = self.follows(operator);
        if found {
            self.at += operator.len();
            self.blanks();
        }
        found
    }

    fn name(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        if length == 0 || rest[0].is_ascii_digit() {
            return None;
        }
        self.at += length;
        let name = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.blanks();
        Some(name)
    }

    fn assignment(&mut self) -> Value {
        let start = self.at;
        if let Some(name) = self.name() {
            let operator = ASSIGNMENTS.iter().find(|operator| self.follows(operator) && !self.follows("=="));
            if let Some(operator) = operator {
                self.accept(operator);
                let right = self.assignment()?;
                let value = match operator.strip_suffix('=') {
                    Some("") | None => right,
                    Some(binary) => apply(binary, self.variable(&name)?, right)?,
                };
                if self.live {
                    self.variables.set(&name, value);
                }
                return Ok(value);
            }
            self.at = start;
        }
        self.conditional()
    }

    fn conditional(&mut self) -> Value {
        let condition = self.binary(0)?;
        if !self.accept("?") {
            return Ok(condition);
        }
        let live = self.live;
        self.live = live && condition != 0;
        let yes = self.assignment()?;
        if !self.accept(":") {
            return Err(self.wrong());
        }
        self.live = live && condition == 0;
        let no = self.assignment()?;
        self.live = live;
        Ok(if condition != 0 { yes } else { no })
    }

    fn binary(&mut self, level: usize) -> Value {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.is_operator(operator)) {
            self.accept(operator);
            let live = self.live;
            let decided = matches!((*operator, left != 0), ("&&", false) | ("||", true));
            self.live = live && !decided;
            let right = self.binary(level + 1)?;
            self.live = live;
            left = match *operator {
                _ if decided => i64::from(left != 0),
                // What is not evaluated cannot fail either.
                "/" | "%" if right == 0 && !live => 0,
                _ => apply(operator, left, right)?,
            };
        }
        Ok(left)
    }

    /// Whether this operator comes next, and not a longer one that starts with it.
    fn is_operator(&self, operator: &str) -> bool {
        let next = self.text.get(self.at + operator.len()).copied().unwrap_or(b' ');
        let longer = match operator {
            "|" | "&" => next == operator.as_bytes()[0] || next == b'=',
            "<" | ">" => next == operator.as_bytes()[0],
            "^" | "+" | "-" | "*" | "/" | "%" | "<<" | ">>" => next == b'=',
            _ => false,
        };
        self.follows(operator) && !longer
    }

    fn unary(&mut self) -> Value {
        match self.text.get(self.at) {
            Some(sign @ (b'-' | b'+' | b'!' | b'~')) => {
                let sign = *sign;
                self.at += 1;
                self.blanks();
                let value = self.unary()?;
                Ok(match sign {
                    b'-' => value.wrapping_neg(),
                    b'!' => i64::from(value == 0),
                    b'~' => !value,
                    _ => value,
                })
            }
            Some(b'(') => {
                self.accept("(");
                let value = self.assignment()?;
                if self.accept(")") { Ok(value) } else { Err(self.wrong()) }
            }
            Some(byte) if byte.is_ascii_digit() => self.number(),
            _ => match self.name() {
                Some(name) => self.variable(&name),
                None => Err(self.wrong()),
            },
        }
    }

    fn number(&mut self) -> Value {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length;
        self.blanks();
        parse(&text).ok_or_else(|| self.wrong())
    }

    fn variable(&self, name: &str) -> Value {
        let text = self.variables.get(name);
        match text.trim() {
            "" => Ok(0),
            text => parse(text).ok_or_else(|| format!("Illegal number: {text}")),
        }
    }
}

/// A number as C writes it.
fn parse(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits {
        _ if digits.starts_with("0x") || digits.starts_with("0X") => i64::from_str_radix(&digits[2..], 16).ok()?,
        _ if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(&digits[1..], 8).ok()?,
        _ => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

fn apply(operator: &str, left: i64, right: i64) -> Value {
    Ok(match operator {
        "||" => i64::from(left != 0 || right != 0),
        "&&" => i64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "<<" => left.wrapping_shl(right as u32),
        ">>" => left.wrapping_shr(right as u32),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" | "%" if right == 0 => return Err("arithmetic expression: division by zero".to_owned()),
        "/" => left.wrapping_div(right),
        _ => left.wrapping_rem(right),
    })
}
