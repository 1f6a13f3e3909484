//! What a run records about the machine.

use std::path::{Component, Path, PathBuf};

/// Operating system and architecture: `linux x86_64`.
pub fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The processor's name where the system tells, else its architecture.
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The host's name.
pub fn host() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    told.map(|h| h.trim().to_owned()).filter(|h| !h.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// Whether a process of this host runs. Where that cannot be known, yes.
pub(crate) fn is_alive(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(pid.to_string()).exists()
}

/// Bytes of memory that this process could take now, where the system tells (Linux): what is free or could be freed, and no more
/// than the limits of its control groups (containers, jobs of a cluster) leave.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let machine = line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(group_room(&groups, Path::new("/sys/fs/cgroup")).map_or(machine, |room| room.min(machine)))
}

/// The files of a kind of control groups: limit, use, and statistics with the name of the file cache that is given back first.
struct GroupFiles {
    limit: &'static str,
    used: &'static str,
    cache: &'static str,
}

/// What the limits on `groups` (lines of `/proc/self/cgroup`: `id:controllers:path`) and on all groups around them leave, in bytes;
/// `root` is where they are mounted. `None` without a limit.
///
/// Control Group v2 (`memory.max`) and v1 (`memory.limit_in_bytes`), see cgroups(7).
fn group_room(groups: &str, root: &Path) -> Option<u64> {
    const V2: GroupFiles = GroupFiles { limit: "memory.max", used: "memory.current", cache: "inactive_file" };
    const V1: GroupFiles =
        GroupFiles { limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", cache: "total_inactive_file" };
    let lines = groups.lines().filter_map(|line| <[&str; 3]>::try_from(line.splitn(3, ':').collect::<Vec<_>>()).ok());
    let rooms = lines.filter_map(|[_, controllers, path]| match controllers {
        "" => least_room(root, path, &V2),
        names if names.split(',').any(|name| name == "memory") => least_room(&root.join("memory"), path, &V1),
        _ => None,
    });
    rooms.min()
}

/// The least that a group and those around it leave. Within a container the path may be the host's; the mount is then the group itself.
fn least_room(mount: &Path, path: &str, files: &GroupFiles) -> Option<u64> {
    let inner = Path::new(path).components().filter(|c| matches!(c, Component::Normal(_)));
    let dir = mount.join(inner.collect::<PathBuf>());
    let number = |dir: &Path, file: &str| std::fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok();
    let room = |dir: &Path| {
        let (limit, used) = (number(dir, files.limit)?, number(dir, files.used)?);
        let statistics = std::fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let cache = statistics.lines().find_map(|l| l.strip_prefix(files.cache)?.trim().parse::<u64>().ok());
        Some(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))))
    };
    dir.ancestors().take_while(|dir| dir.starts_with(mount)).filter_map(room).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_living_live() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX));
        assert!(!host().is_empty() && !cpu().is_empty());
    }

    fn put(dir: &Path, files: &[(&str, &str)]) {
        std::fs::create_dir_all(dir).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(dir.join(name), text).unwrap());
    }

    /// Limits of v2 hold for all groups within; a cache that the system would give back is no use.
    #[test]
    fn the_tightest_group_decides() {
        let root = tempfile::tempdir().unwrap();
        let job = root.path().join("jobs/7");
        assert_eq!(group_room("0::/jobs/7\n", root.path()), None, "no limits, no files");
        put(&job, &[("memory.max", "max\n"), ("memory.current", "900\n")]);
        assert_eq!(group_room("0::/jobs/7\n", root.path()), None);
        put(&root.path().join("jobs"), &[("memory.max", "5000\n"), ("memory.current", "3000\n")]);
        assert_eq!(group_room("0::/jobs/7\n", root.path()), Some(2000));
        put(&job, &[("memory.max", "1000\n"), ("memory.stat", "anon 500\ninactive_file 300\nactive_file 100\n")]);
        assert_eq!(group_room("0::/jobs/7\n", root.path()), Some(400));
        put(&job, &[("memory.current", "2000\n")]);
        assert_eq!(group_room("0::/jobs/7\n", root.path()), Some(0), "nothing is left, and nothing below");
        // Within a container, of which the path is the host's.
        put(root.path(), &[("memory.max", "800"), ("memory.current", "100")]);
        assert_eq!(group_room("0::/../../elsewhere\n", root.path()), Some(700));
    }

    #[test]
    fn groups_of_the_first_version_count_too() {
        let root = tempfile::tempdir().unwrap();
        let stat = "inactive_file 1\ntotal_inactive_file 50\n";
        let files = [("memory.limit_in_bytes", "1000\n"), ("memory.usage_in_bytes", "250\n"), ("memory.stat", stat)];
        put(&root.path().join("memory/slurm/job_1"), &files);
        let groups = "11:cpu,cpuacct:/slurm/job_2\n4:memory:/slurm/job_1\n1:name=systemd:/x\n0::/x\n";
        assert_eq!(group_room(groups, root.path()), Some(800));
        assert_eq!(group_room("4:memory:/slurm/job_3\nnonsense\n", root.path()), None);
        // The root's limit of the first version is a number beyond any memory.
        put(&root.path().join("memory"), &[("memory.limit_in_bytes", "9223372036854771712"), ("memory.usage_in_bytes", "9")]);
        assert_eq!(group_room(groups, root.path()), Some(800));
    }
}
