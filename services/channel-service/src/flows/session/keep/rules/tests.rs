//! Each row of the table, and the times between looks and tries.

use uuid::Uuid;

use super::*;

const SETTINGS: WatchSettings = WatchSettings {
    look: Duration::from_secs(30),
    deaf_after: Duration::from_secs(20),
    longest_wait: Duration::from_secs(1800),
    attempts: 3,
    rate: 5,
};
const WISHES: Wishes = Wishes {
    auto_reconnect: true,
    first_wait: Duration::from_secs(30),
    was_paired: true,
};
const DOWN: Seen = Seen::Down { is_paired: true };
const UP: Seen = Seen::Up { lost: None };

fn row() -> WatchedRow {
    WatchedRow {
        tenant_id: "desa-satu".to_owned(),
        account_id: Uuid::nil(),
        fence: 1,
        endpoint: "Primary".to_owned(),
        status: "connected".to_owned(),
        kept_off: false,
        is_down: false,
        attempts: 0,
        try_in: None,
        gave_up: None,
        unheard_for: None,
        deaf_reason: None,
        reattached_ago: None,
        reattachments: 0,
        heard_since: false,
        endpoint_is_away: false,
    }
}

fn outage(step: &Step) -> OutageChange {
    match step {
        Step::Note { outage, .. } => outage.clone(),
        other => panic!("{other:?}"),
    }
}

fn hearing(step: &Step) -> HearingChange {
    match step {
        Step::Note { hearing, .. } => *hearing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dropped_session_is_tried_with_growing_waits_and_then_given_up() {
    let first = SETTINGS.after_asking(&row(), WISHES, DOWN);
    let OutageChange::Down { try_in, tried: false } = outage(&first) else {
        panic!("{first:?}");
    };
    assert!((30.0..=36.0).contains(&try_in.as_secs_f64()), "{try_in:?}");
    let waiting = WatchedRow {
        is_down: true,
        try_in: Some(12.0),
        ..row()
    };
    assert_eq!(
        outage(&SETTINGS.after_asking(&waiting, WISHES, DOWN)),
        OutageChange::Same
    );
    for (attempts, least, most) in [
        (0, 60.0, 72.0),
        (1, 120.0, 144.0),
        (2, 240.0, 288.0),
        (9, 1800.0, 2160.0),
    ] {
        let due = WatchedRow {
            is_down: true,
            attempts,
            try_in: Some(-0.1),
            ..row()
        };
        let step = SETTINGS.after_asking(&due, WISHES, DOWN);
        if attempts < 3 {
            assert_eq!(step, Step::Reconnect, "{attempts}");
        } else {
            assert_eq!(outage(&step), OutageChange::GivenUp(ATTEMPTS), "{attempts}");
        }
        let OutageChange::Down { try_in, tried: true } = outage(&SETTINGS.after_try(&due, WISHES)) else {
            panic!("{attempts}");
        };
        assert!(
            (least..=most).contains(&try_in.as_secs_f64()),
            "{attempts}: {try_in:?}"
        );
    }
}

#[test]
fn only_what_is_down_paired_and_wished_for_is_brought_back() {
    let due = WatchedRow {
        is_down: true,
        try_in: Some(-1.0),
        ..row()
    };
    let unwished = Wishes {
        auto_reconnect: false,
        ..WISHES
    };
    let never_paired = Wishes {
        was_paired: false,
        ..WISHES
    };
    let unpaired = Seen::Down { is_paired: false };
    assert_eq!(SETTINGS.after_asking(&due, WISHES, DOWN), Step::Reconnect);
    assert_eq!(
        SETTINGS.after_asking(&due, WISHES, Seen::Joining),
        Step::Reconnect
    );
    for (row, wishes, seen, change) in [
        (&due, unwished, DOWN, OutageChange::Same),
        (&due, WISHES, Seen::NotKnown, OutageChange::Same),
        (&due, WISHES, Seen::Pairing, OutageChange::Over),
        (&due, WISHES, UP, OutageChange::Over),
        (&due, WISHES, unpaired, OutageChange::GivenUp(NOT_PAIRED)),
        (&due, never_paired, unpaired, OutageChange::Same),
        (&row(), WISHES, Seen::Joining, OutageChange::Same),
        (&row(), WISHES, UP, OutageChange::Same),
    ] {
        assert_eq!(
            outage(&SETTINGS.after_asking(row, wishes, seen)),
            change,
            "{seen:?}"
        );
    }
    let given_up = WatchedRow {
        gave_up: Some(ATTEMPTS.to_owned()),
        ..due
    };
    assert_eq!(
        outage(&SETTINGS.after_asking(&given_up, WISHES, DOWN)),
        OutageChange::Same
    );
    assert_eq!(
        outage(&SETTINGS.after_asking(&given_up, WISHES, UP)),
        OutageChange::Over
    );
}

#[test]
fn some_are_not_even_asked_about() {
    assert_eq!(SETTINGS.before_asking(&row()), None);
    let off = WatchedRow {
        kept_off: true,
        ..row()
    };
    assert_eq!(
        SETTINGS.before_asking(&off).as_ref().map(outage),
        Some(OutageChange::Same)
    );
    let mut out = WatchedRow {
        status: "logged_out".to_owned(),
        ..row()
    };
    assert_eq!(
        SETTINGS.before_asking(&out).as_ref().map(outage),
        Some(OutageChange::GivenUp(LOGGED_OUT))
    );
    out.gave_up = Some(LOGGED_OUT.to_owned());
    assert_eq!(
        SETTINGS.before_asking(&out).as_ref().map(outage),
        Some(OutageChange::Same),
        "once"
    );
    let away = WatchedRow {
        endpoint_is_away: true,
        ..row()
    };
    assert_eq!(
        SETTINGS.before_asking(&away).as_ref().map(outage),
        Some(OutageChange::Same)
    );
}

#[test]
fn a_deaf_session_is_attached_anew_with_growing_pauses_until_it_hears() {
    let lost = Seen::Up {
        lost: Some(WEBHOOK_LOST),
    };
    assert_eq!(
        SETTINGS.after_asking(&row(), WISHES, lost),
        Step::Reattach(WEBHOOK_LOST)
    );
    let mut silent = WatchedRow {
        unheard_for: Some(19.9),
        ..row()
    };
    assert_eq!(
        hearing(&SETTINGS.after_asking(&silent, WISHES, UP)),
        HearingChange::Same
    );
    silent.unheard_for = Some(20.0);
    assert_eq!(
        SETTINGS.after_asking(&silent, WISHES, UP),
        Step::Reattach(UNHEARD)
    );
    let mut attached = WatchedRow {
        deaf_reason: Some(UNHEARD.to_owned()),
        reattached_ago: Some(30.0),
        reattachments: 1,
        ..row()
    };
    assert_eq!(
        hearing(&SETTINGS.after_asking(&attached, WISHES, UP)),
        HearingChange::Deaf(UNHEARD)
    );
    attached.reattached_ago = Some(61.0);
    assert_eq!(
        SETTINGS.after_asking(&attached, WISHES, UP),
        Step::Reattach(UNHEARD)
    );
    attached.reattachments = 2;
    assert_eq!(
        hearing(&SETTINGS.after_asking(&attached, WISHES, UP)),
        HearingChange::Deaf(UNHEARD)
    );
    attached.heard_since = true;
    assert_eq!(
        hearing(&SETTINGS.after_asking(&attached, WISHES, UP)),
        HearingChange::Hears
    );
    let mended = WatchedRow {
        deaf_reason: Some(EVENTS_LOST.to_owned()),
        reattached_ago: Some(1.0),
        reattachments: 1,
        ..row()
    };
    assert_eq!(
        hearing(&SETTINGS.after_asking(&mended, WISHES, UP)),
        HearingChange::Hears
    );
    assert_eq!(
        hearing(&SETTINGS.after_asking(&row(), WISHES, UP)),
        HearingChange::Same
    );
}

#[test]
fn what_was_taken_off_to_be_attached_is_brought_back_whatever_is_wished() {
    let unwished = Wishes {
        auto_reconnect: false,
        ..WISHES
    };
    let OutageChange::Down { try_in, tried: true } = SETTINGS.after_taking_off(unwished, false) else {
        panic!("it is down");
    };
    assert_eq!(try_in, Duration::ZERO, "at once");
    let OutageChange::Down { try_in, tried: true } = SETTINGS.after_taking_off(unwished, true) else {
        panic!("it is down until it is seen up");
    };
    assert!(try_in >= unwished.first_wait, "{try_in:?}");
    let mut taken_off = WatchedRow {
        is_down: true,
        attempts: 1,
        try_in: Some(-0.1),
        deaf_reason: Some(UNHEARD.to_owned()),
        reattached_ago: Some(1.0),
        reattachments: 1,
        ..row()
    };
    assert_eq!(SETTINGS.after_asking(&taken_off, unwished, DOWN), Step::Reconnect);
    assert_eq!(
        outage(&SETTINGS.after_asking(&taken_off, unwished, UP)),
        OutageChange::Over
    );
    taken_off.attempts = 3;
    assert_eq!(
        outage(&SETTINGS.after_asking(&taken_off, unwished, DOWN)),
        OutageChange::GivenUp(ATTEMPTS),
        "not for ever"
    );
    // One that dropped by itself is left alone, deaf or not.
    let dropped = WatchedRow {
        is_down: false,
        try_in: None,
        attempts: 0,
        ..taken_off
    };
    assert_eq!(
        outage(&SETTINGS.after_asking(&dropped, unwished, DOWN)),
        OutageChange::Same
    );
}

#[test]
fn the_first_of_a_silent_endpoint_is_followed_soon_and_the_others_after_longer_and_longer_waits() {
    for (attached, wait) in [(0, 20), (1, 40), (2, 80), (40, 30 * 60), (i64::MAX, 30 * 60)] {
        assert_eq!(
            SETTINGS.canary_wait(attached),
            Duration::from_secs(wait),
            "{attached}"
        );
    }
    // Known to be silent, looked at, attached, and the others looked at while that one is believed.
    assert!(SETTINGS.deaf_after + SETTINGS.look * 2 <= Duration::from_secs(120));
    assert!(SETTINGS.believed() >= SETTINGS.deaf_after + SETTINGS.look);
}
