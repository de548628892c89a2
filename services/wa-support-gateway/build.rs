//! Builds the binary anew when a migration was added: they are embedded, and the compiler does not watch the folder. Says how
//! the binary is linked.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/wa_support");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    // Addresses that are put right at the start take a twentieth of the room. Read by glibc from 2.36 on.
    if (target("OS"), target("ENV")) == ("linux".to_owned(), "gnu".to_owned()) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
