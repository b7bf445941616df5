//! What is wrong with playbooks before anything is touched.

#[cfg(test)]
pub(crate) mod testing;
