//! Where the game is installed: its folder, its versions, SMAC's maps.

use std::path::{Path, PathBuf};

use motley_core::ConfigError;

/// Versions known by name: name, build, hash of the game data. SMAC's paper was written on 4.6.2, most later results are of 4.10;
/// results of different versions cannot be compared.
const KNOWN: [(&str, u32, &str); 3] = [
    ("4.6.2", 69232, "B3E14058F1083913B80C20993AC965DB"),
    ("4.10", 75689, "B89B5D6FA7CBF6452E721311BFBC6CB2"),
    ("4.10.0", 75689, "B89B5D6FA7CBF6452E721311BFBC6CB2"),
];

/// The program inside a version's folder.
const PROGRAM: &str = if cfg!(target_os = "macos") {
    "SC2.app/Contents/MacOS/SC2"
} else if cfg!(windows) {
    "SC2_x64.exe"
} else {
    "SC2_x64"
};

/// Where SMAC's maps lie, under the game's folder.
const MAPS: &str = "Maps/SMAC_Maps";

/// One version of an installed game.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// The game's folder.
    pub root: PathBuf,
    /// Number of the build, 75689 for 4.10.
    pub build: u32,
    /// Hash of the game data to ask for; none leaves it to the game.
    pub data_version: Option<String>,
}

impl Install {
    /// Looks for the game.
    ///
    /// `path` names its folder; empty, it is `SC2PATH`, else where installers put it. `version` is a name as `4.10` or a build as `75689`;
    /// empty, the newest one there. `data_version` is a hash, or empty.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] that lists where was looked and says what to do; a version or hash that cannot be one.
    pub fn find(path: &str, version: &str, data_version: &str) -> Result<Self, ConfigError> {
        let (places, how) = places(path);
        let wanted = build_of(version)?;
        let Some(root) = places.iter().find(|root| !builds(root).is_empty()) else {
            return Err(absent(&places, how));
        };
        let there = builds(root);
        let build = match wanted {
            None => there.last().copied().unwrap_or_default(),
            Some(build) if there.contains(&build) => build,
            Some(build) => {
                let list: Vec<String> = there.iter().map(|build| named(*build)).collect();
                return Err(ConfigError::Missing {
                    what: format!("version {} of StarCraft II", named(build)),
                    mend: format!(
                        "{} has {}; install that version beside them, or name one of these with task.version",
                        root.join("Versions").display(),
                        list.join(", ")
                    ),
                });
            }
        };
        Ok(Self { root: root.clone(), build, data_version: hash_of(version, data_version)? })
    }

    /// The program to start.
    pub fn program(&self) -> PathBuf {
        program(&self.root, self.build)
    }

    /// The version as a person knows it: `4.10 (Base75689)`, or `Base80949`.
    pub fn version(&self) -> String {
        named(self.build)
    }

    /// The bytes of one of SMAC's maps.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] where there is none of that name; a file that cannot be read.
    pub fn map(&self, name: &str) -> Result<Vec<u8>, ConfigError> {
        let file = self.map_file(name);
        if !file.is_file() {
            return Err(ConfigError::Missing {
                what: format!("SMAC's map {name} (looked for {})", file.display()),
                mend: format!(
                    "unpack SMAC_Maps.zip (releases of https://github.com/oxwhirl/smac; for smacv2 those of \
                     https://github.com/oxwhirl/smacv2) into {}; skirmish/* plays the same maps without the game",
                    self.root.join("Maps").display()
                ),
            });
        }
        std::fs::read(&file).map_err(|e| ConfigError::File { path: file.display().to_string(), why: e.to_string() })
    }

    /// Where the map of that name lies, if it is there.
    pub fn map_file(&self, name: &str) -> PathBuf {
        self.root.join(MAPS).join(format!("{name}.SC2Map"))
    }
}

/// What `motley doctor` says about the game: the version and maps that are there.
///
/// # Errors
/// What was looked for, and how to get it.
pub fn survey() -> Result<String, (String, String)> {
    match Install::find("", "", "") {
        Ok(install) => {
            let maps = motley_envs::skirmish::maps::smac();
            let there = maps.iter().filter(|map| install.map_file(&map.name).is_file()).count();
            let flat = if install.map_file(crate::tasks::FLAT).is_file() { "" } else { "no " };
            let root = install.root.display();
            Ok(format!("{} in {root}, {there} of {} maps for smac/*, {flat}map for smacv2/*", install.version(), maps.len()))
        }
        Err(ConfigError::Missing { what, mend }) => Err((what, mend)),
        Err(error) => Err((error.to_string(), "name the game's folder with SC2PATH".into())),
    }
}

/// Folders that may hold the game, and what made them so.
fn places(path: &str) -> (Vec<PathBuf>, &'static str) {
    if !path.is_empty() {
        return (vec![path.into()], "named by task.path");
    }
    if let Some(named) = std::env::var_os("SC2PATH").filter(|v| !v.is_empty()) {
        return (vec![named.into()], "named by SC2PATH");
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("StarCraftII"));
    let usual = ["/Applications/StarCraft II", "C:/Program Files (x86)/StarCraft II"].map(PathBuf::from);
    (home.into_iter().chain(usual).collect(), "SC2PATH is not set")
}

fn absent(places: &[PathBuf], how: &str) -> ConfigError {
    let list: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    ConfigError::Missing {
        what: format!("StarCraft II (looked for Versions/BaseNNNNN/{PROGRAM} in {}; {how})", list.join(", ")),
        mend: "install the game (Linux packages: https://github.com/Blizzard/s2client-proto#linux-packages) and name its folder with \
               SC2PATH or task.path; skirmish/* plays the same maps without the game"
            .into(),
    }
}

fn program(root: &Path, build: u32) -> PathBuf {
    root.join("Versions").join(format!("Base{build}")).join(PROGRAM)
}

/// The builds under a folder that have a program, rising.
fn builds(root: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(root.join("Versions")).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix("Base")?.parse::<u32>().ok();
    let mut found: Vec<u32> = entries.filter_map(number).filter(|build| program(root, *build).is_file()).collect();
    found.sort_unstable();
    found
}

fn named(build: u32) -> String {
    match KNOWN.iter().find(|known| known.1 == build) {
        Some((name, ..)) => format!("{name} (Base{build})"),
        None => format!("Base{build}"),
    }
}

/// The build that a version names; `None` for the newest.
fn build_of(version: &str) -> Result<Option<u32>, ConfigError> {
    if version.is_empty() {
        return Ok(None);
    }
    if let Some(known) = KNOWN.iter().find(|known| known.0 == version) {
        return Ok(Some(known.1));
    }
    version.strip_prefix("Base").unwrap_or(version).parse().map(Some).map_err(|_| ConfigError::Value {
        key: "task.version".into(),
        expected: "4.10, 4.6.2, the number of a build such as 75689, or nothing for the newest one".into(),
        found: format!("\"{version}\""),
    })
}

/// The hash of game data to ask for: the one given, else that of a version known by name.
fn hash_of(version: &str, given: &str) -> Result<Option<String>, ConfigError> {
    if given.is_empty() {
        return Ok(KNOWN.iter().find(|known| known.0 == version).map(|known| known.2.to_owned()));
    }
    if given.len() != 32 || !given.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ConfigError::Value {
            key: "task.data_version".into(),
            expected: "32 hexadecimal digits, or nothing".into(),
            found: format!("\"{given}\""),
        });
    }
    Ok(Some(given.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these builds in it.
    fn installed(builds: &[u32]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for build in builds {
            let file = program(dir.path(), *build);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        dir
    }

    #[test]
    fn the_newest_version_is_taken_unless_one_is_named() {
        let dir = installed(&[75689, 9999, 69232]);
        let path = dir.path().to_str().unwrap();
        let find = |version: &str, hash: &str| Install::find(path, version, hash);
        let newest = find("", "").unwrap();
        assert_eq!((newest.build, newest.data_version.as_deref()), (75689, None));
        assert_eq!(newest.version(), "4.10 (Base75689)");
        for name in ["4.6.2", "69232", "Base69232"] {
            assert_eq!(find(name, "").unwrap().build, 69232);
        }
        assert_eq!(find("4.6.2", "").unwrap().data_version.as_deref(), Some(KNOWN[0].2));
        assert_eq!(find("", &"ab".repeat(16)).unwrap().data_version.unwrap(), "AB".repeat(16));
        assert!(matches!(find("", "12"), Err(ConfigError::Value { key, .. }) if key == "task.data_version"));
        assert!(matches!(find("four", ""), Err(ConfigError::Value { key, .. }) if key == "task.version"));
        let text = find("80949", "").unwrap_err().to_string();
        assert!(
            text.contains("Base80949 of StarCraft II is missing") && text.contains("Base9999, 4.6.2 (Base69232), 4.10"),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_is_said_once_and_whole() {
        let empty = tempfile::tempdir().unwrap();
        let path = empty.path().to_str().unwrap();
        let error = Install::find(path, "", "").unwrap_err();
        assert!(matches!(error, ConfigError::Missing { .. }));
        let text = error.to_string();
        for part in [path, "Versions/BaseNNNNN", "task.path", "SC2PATH", "skirmish/"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        let dir = installed(&[75689]);
        let install = Install::find(dir.path().to_str().unwrap(), "", "").unwrap();
        let text = install.map("3m").unwrap_err().to_string();
        for part in ["3m", "Maps/SMAC_Maps/3m.SC2Map", "SMAC_Maps.zip"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        std::fs::create_dir_all(dir.path().join(MAPS)).unwrap();
        std::fs::write(install.map_file("3m"), [1, 2, 3]).unwrap();
        assert_eq!(install.map("3m").unwrap(), [1, 2, 3]);
    }
}
