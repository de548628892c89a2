# shellcheck shell=bash
# An older release of the services, built from its sources. Needs common.sh.

target_directory() {
    local target=${CARGO_TARGET_DIR:-$KANAL_ROOT/target}
    [[ $target == /* ]] || target=$PWD/$target
    printf '%s' "$target"
}

# commit_of CHECK [TAG OR COMMIT]: sets RELEASE_NAME, the newest tag if none is named, and RELEASE_COMMIT.
commit_of() {
    RELEASE_NAME=${2:-$(git -C "$KANAL_ROOT" describe --tags --abbrev=0 2>/dev/null || true)}
    [[ -n $RELEASE_NAME ]] || fail "$1" "there is no tag, so nobody knows what the release before is" \
        "name a tag or commit: ${0#"$KANAL_ROOT/"} COMMIT"
    RELEASE_COMMIT=$(git -C "$KANAL_ROOT" rev-parse --verify --quiet "$RELEASE_NAME^{commit}") ||
        fail "$1" "there is no tag or commit $RELEASE_NAME" "git fetch --tags, or name another one"
}

# build_release PROFILE: builds the services of RELEASE_COMMIT, once for each commit and profile; sets RELEASE to where they are.
build_release() {
    local profile=$1 built=$1 service
    [[ $profile != dev ]] || built=debug
    RELEASE=$(target_directory)/releases/$RELEASE_COMMIT-$profile
    [[ ! -f $RELEASE/built ]] || return 0
    step "building the services of $RELEASE_NAME"
    rm -rf "$RELEASE"
    mkdir -p "$RELEASE/source"
    git -C "$KANAL_ROOT" archive "$RELEASE_COMMIT" | tar -x -C "$RELEASE/source"
    CARGO_TARGET_DIR=$RELEASE/target in_group cargo build --locked --profile "$profile" --manifest-path "$RELEASE/source/Cargo.toml" \
        -p channel-service -p wa-support-gateway -p chatwoot-bridge ||
        fail "building $RELEASE_NAME" "cargo build failed" "read its messages above"
    for service in channel-service wa-support-gateway chatwoot-bridge; do mv "$RELEASE/target/$built/$service" "$RELEASE/"; done
    rm -rf "$RELEASE/target" "$RELEASE/source"
    touch "$RELEASE/built"
}
