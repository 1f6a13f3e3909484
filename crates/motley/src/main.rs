//! The `motley` command.

/// glibc's allocator gives big blocks back to the kernel and takes them as zeroed pages again every gradient step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    motley::cli(motley::Registry::builtin())
}
