//! The Python that environments of other libraries would run in, and what it has.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Finding;

/// What the interpreter says of itself; a package that is absent has no version.
#[derive(Debug, Deserialize)]
struct About {
    version: String,
    path: String,
    packages: Vec<(String, Option<String>)>,
}

/// The packages that tasks `py:*` and `gym/*` are made of, and the launcher of sweeps over many machines.
const ASK: &str = "
import json, sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
packages = [(name, version(name)) for name in ('numpy', 'gymnasium', 'pettingzoo', 'ray')]
print(json.dumps({'version': sys.version.split()[0], 'path': sys.executable, 'packages': packages}))
";

/// The interpreter that the bridge would start.
pub(super) fn finding() -> Finding {
    let program = motley_bridge::interpreter();
    let named = std::env::var_os("MOTLEY_PYTHON").is_some_and(|v| !v.is_empty());
    let how = match (named, program == Path::new("python3")) {
        (true, _) => "named by MOTLEY_PYTHON",
        (false, true) => "the PATH's python3",
        (false, false) => "of the active virtual environment",
    };
    let asked = Command::new(&program).args(["-c", ASK]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let about = asked.ok().filter(|o| o.status.success()).and_then(|o| serde_json::from_slice::<About>(&o.stdout).ok());
    match about {
        Some(about) => told(&about, how),
        None => Finding {
            what: "Python",
            found: format!("{} ({how}) cannot be started, or is no Python 3.10 or newer", program.display()),
            mend: Some("for the tasks py:*, gym/* and football/*: install Python, or name one with MOTLEY_PYTHON".into()),
            // Training needs none, but one that is named was meant to be used.
            optional: !named,
        },
    }
}

fn told(about: &About, how: &str) -> Finding {
    let version = |(name, version): &(String, Option<String>)| match version {
        Some(version) => format!("{name} {version}"),
        None => format!("no {name}"),
    };
    let packages: Vec<String> = about.packages.iter().map(version).collect();
    let (ray, missing): (Vec<&str>, Vec<&str>) =
        about.packages.iter().filter(|p| p.1.is_none()).map(|p| p.0.as_str()).partition(|name| *name == "ray");
    let mut mends = Vec::new();
    if !missing.is_empty() {
        mends.push(format!("for the tasks py:* and gym/*, {} -m pip install {}", about.path, missing.join(" ")));
    }
    if !ray.is_empty() {
        mends.push(format!("for sweep --launcher ray, from a checkout of Motley, {} -m pip install '.[ray]'", about.path));
    }
    Finding {
        what: "Python",
        found: format!("{} at {} ({how}): {}", about.version, about.path, packages.join(", ")),
        mend: (!mends.is_empty()).then(|| mends.join("; ")),
        optional: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_a_mend() {
        let has = |names: &[&str]| About {
            version: "3.12.1".into(),
            path: "/opt/python".into(),
            packages: ["numpy", "gymnasium", "pettingzoo", "ray"]
                .map(|name| (name.to_owned(), names.contains(&name).then(|| "1.0".to_owned())))
                .to_vec(),
        };
        let all = told(&has(&["numpy", "gymnasium", "pettingzoo", "ray"]), "x");
        assert_eq!(all.found, "3.12.1 at /opt/python (x): numpy 1.0, gymnasium 1.0, pettingzoo 1.0, ray 1.0");
        assert_eq!(all.mend, None);
        let some = told(&has(&["numpy", "ray"]), "x").mend.unwrap();
        assert_eq!(some, "for the tasks py:* and gym/*, /opt/python -m pip install gymnasium pettingzoo");
        let none = told(&has(&[]), "x").mend.unwrap();
        assert!(none.contains("pip install numpy gymnasium pettingzoo; for sweep") && none.ends_with("pip install '.[ray]'"));
    }
}
