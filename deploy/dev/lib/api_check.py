"""What deploy/dev/api-check looks for besides schemathesis' own checks."""

import schemathesis

# Answers above 499 that are the contract's own: what the provider says to a session that is not as it should be.
FIXED = {
    "already_logged_in",
    "no_session",
    "not_logged_in",
    "qr_failed",
    "send_failed",
}


@schemathesis.check
def no_fault_of_ours(ctx, response, case):
    if response.status_code < 500:
        return
    try:
        code = response.json().get("code")
    except ValueError:
        code = None
    assert code in FIXED, f"a fault of ours: {response.status_code} {code}"
