//! With the feature `mujoco`: bakes the folder of the library into the program, so that it starts without help.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    let wanted = std::env::var_os("CARGO_FEATURE_MUJOCO").is_some();
    if let Some(folder) = std::env::var("MUJOCO_DYNAMIC_LINK_DIR").ok().filter(|_| wanted) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
