//! Builds the binary anew when a migration was added: they are embedded, and the compiler does not watch the folder.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/wa_support");
}
