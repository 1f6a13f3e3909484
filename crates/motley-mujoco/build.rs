//! Bakes the folder of the MuJoCo library into what this package links (its tests and examples).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    let wanted = std::env::var_os("CARGO_FEATURE_ENGINE").is_some();
    let Some(folder) = std::env::var("MUJOCO_DYNAMIC_LINK_DIR").ok().filter(|_| wanted) else { return };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    let files = ["libmujoco.so", "libmujoco.dylib", "mujoco.lib"];
    if !files.iter().any(|file| std::path::Path::new(&folder).join(file).exists()) {
        println!("cargo::error=MuJoCo 3.17.0 is not in {folder}: run scripts/get-mujoco");
    }
}
