//! The values of a HelmRelease: its chart's own, what Secrets and ConfigMaps tell, and its own over all of them.

use serde_json::{Map, Value};

use super::{items, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::helm::{put_over, written};

/// All values together, or which of them cannot be had.
pub(super) fn values_of(cluster: &Cluster, namespace: &str, spec: &Value, own: Value) -> Result<Value, String> {
    let mut values = own;
    for one in items(spec, "/valuesFrom") {
        let (kind, name) = (text(one, "/kind"), text(one, "/name"));
        let key = one["valuesKey"].as_str().unwrap_or("values.yaml");
        let resource = match kind {
            "Secret" => "secrets",
            "ConfigMap" => "configmaps",
            other => return Err(format!("unsupported ValuesReference kind '{other}'")),
        };
        let failed = |why: &str| {
            format!("could not resolve {kind} chart values reference '{namespace}/{name}' with key '{key}': {why}")
        };
        let told = match cluster.values(resource, namespace, name) {
            Some(told) => told,
            None if one["optional"] == true => continue,
            None => return Err(failed(&format!("{resource} \"{name}\" not found"))),
        };
        let Some(told) = told.get(key) else {
            if one["optional"] == true {
                continue;
            }
            return Err(failed(&format!("missing key '{key}' in {kind} '{namespace}/{name}'")));
        };
        let more = match text(one, "/targetPath") {
            "" => written(told).map_err(|why| failed(&why))?,
            path => nested(path, serde_saphyr::from_str(told).unwrap_or_else(|_| Value::from(told.as_str()))),
        };
        put_over(&mut values, &more);
    }
    put_over(&mut values, &spec["values"]);
    Ok(values)
}

/// A value at a path: `a.b` becomes `{a: {b: value}}`.
fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, part| Value::Object(Map::from_iter([(part.to_owned(), value)])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_put_where_its_path_leads() {
        assert_eq!(nested("auth.password", json!("x")), json!({ "auth": { "password": "x" } }));
        assert_eq!(nested("replicas", json!(2)), json!({ "replicas": 2 }));
    }
}
