"""What the gateway passes on is administration, by LiteLLM's own routes: none leads to a model or a store of files."""

import pytest

from .packages import told_by_script

PROXY = "litellm.proxy."
MANAGEMENT = f"{PROXY}management_endpoints."
# Whose routes administer, count or show, and call no model. What is new here has to be read before it is added.
ADMINISTRATION = {
    f"{PROXY}analytics_endpoints.analytics_endpoints",
    f"{PROXY}discovery_endpoints.ui_discovery_endpoints",
    f"{PROXY}health_endpoints._health_endpoints",
    f"{PROXY}spend_tracking.spend_management_endpoints",
    f"{PROXY}ui_crud_endpoints.proxy_setting_endpoints",
    f"{MANAGEMENT}budget_management_endpoints",
    f"{MANAGEMENT}customer_endpoints",
    f"{MANAGEMENT}daily_activity_routes",
    f"{MANAGEMENT}internal_user_endpoints",
    f"{MANAGEMENT}key_management_endpoints",
    f"{MANAGEMENT}organization_endpoints",
    f"{MANAGEMENT}password_endpoints",
    f"{MANAGEMENT}team_endpoints",
    f"{MANAGEMENT}ui_sso",
}
# The same of LiteLLM's largest module, which calls models as well, and the first page.
FUNCTIONS = {
    "claim_onboarding_link",
    "get_favicon",
    "get_image",
    "get_logo_url",
    "login",
    "login_v2",
    "model_group_info",
    "model_info",
    "model_info_v1",
    "model_info_v2",
    "model_list",
    "onboarding",
    "swagger_ui_html",
}


@pytest.fixture(scope="module")
def passed() -> list[list[str]]:
    """Method, path, module and function of all that would be passed on."""
    found: list[list[str]] = told_by_script("routes_script.py")
    return found


def test_only_administration_is_passed_on_besides_calls(passed: list[list[str]]) -> None:
    wrong = [
        f"{method} {path}: {module}.{function}"
        for method, path, module, function in passed
        if module not in ADMINISTRATION | {"files", "nothing"} and function not in FUNCTIONS
    ]
    assert wrong == []
    # That a route is refused says something only where others are not.
    assert ["POST", "/key/generate", f"{MANAGEMENT}key_management_endpoints", "generate_key_fn"] in passed


def test_what_calls_a_model_by_itself_is_not_passed_on(passed: list[list[str]]) -> None:
    """LiteLLM tries a key's own logging with a completion."""
    assert not {"/key/health", "/usage/ai/chat"} & {path for _, path, _, _ in passed}
