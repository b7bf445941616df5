//! What a defect says on its way out.

use crate::run::secret::Redactor;

/// Panics are told on standard error without the secrets in them. Those in a playbook become an error of its step as well.
pub fn install(redactor: Redactor) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let text = redactor.clean(&panic.to_string());
        eprintln!("homelab: a defect in thread {}: {text}", thread.name().unwrap_or("?"));
    }));
}
