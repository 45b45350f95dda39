"""The client of @modelcontextprotocol/conformance: an agent that calls every tool of a server.

Run with the server's URL. The scenario and what it hands out are in the environment.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from miniagent_redis import (
    AgentConfig,
    Approve,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
)
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.mcp import MCPServer

URL = sys.argv[1]
BACK = "http://localhost:3030/callback"
SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
GIVEN: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
VALUES = {"integer": 7, "number": 7, "string": "seven", "boolean": True, "array": [], "object": {}}


class Memory:
    """Keeps tokens as long as the program runs."""

    def __init__(self, client: OAuthClientInformationFull | None = None) -> None:
        self.tokens: OAuthToken | None = None
        self.client = client

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """Goes where a user would be sent, and comes back with the code."""

    def __init__(self) -> None:
        self.came_back: dict[str, str] = {}

    async def go(self, url: str) -> None:
        async with httpx2.AsyncClient() as client:
            answer = await client.get(url, follow_redirects=False)
        self.came_back = dict(httpx2.URL(answer.headers["location"]).params)

    async def come_back(self) -> AuthorizationCodeResult:
        found = self.came_back
        return AuthorizationCodeResult(
            code=found["code"], state=found.get("state"), iss=found.get("iss")
        )


def logged_in() -> httpx2.Auth:
    if SCENARIO == "auth/client-credentials-basic":
        return ClientCredentialsOAuthProvider(
            URL, Memory(), GIVEN["client_id"], GIVEN["client_secret"]
        )
    if SCENARIO == "auth/client-credentials-jwt":
        signed = SignedJWTParameters(
            issuer=GIVEN["client_id"],
            subject=GIVEN["client_id"],
            signing_key=GIVEN["private_key_pem"],
            signing_algorithm=GIVEN.get("signing_algorithm", "ES256"),
        )
        provide = signed.create_assertion_provider()
        return PrivateKeyJWTOAuthProvider(URL, Memory(), GIVEN["client_id"], provide)
    if SCENARIO == "auth/cross-app-access-complete-flow":
        return by_identity()
    metadata = OAuthClientMetadata(
        client_name="miniagent-redis",
        redirect_uris=[AnyUrl(BACK)],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
    )
    known = None
    if "client_id" in GIVEN:
        known = OAuthClientInformationFull(
            client_id=GIVEN["client_id"],
            client_secret=GIVEN["client_secret"],
            redirect_uris=[AnyUrl(BACK)],
            token_endpoint_auth_method="client_secret_basic",
        )
    browser = Browser()
    return OAuthClientProvider(
        URL,
        metadata,
        Memory(known),
        browser.go,
        browser.come_back,
        client_metadata_url="https://conformance-test.local/client-metadata.json",
    )


def by_identity() -> httpx2.Auth:
    """Log in with what the company's identity provider says (SEP-990)."""
    resource = httpx2.get(f"{URL.removesuffix('/mcp')}/.well-known/oauth-protected-resource/mcp")
    issuer = resource.json()["authorization_servers"][0]

    async def assertion(audience: str, resource: str) -> str:
        exchange = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "subject_token": GIVEN["idp_id_token"],
            "client_id": GIVEN["idp_client_id"],
            "audience": audience,
            "resource": resource,
        }
        async with httpx2.AsyncClient() as client:
            answer = await client.post(GIVEN["idp_token_endpoint"], data=exchange)
        return str(answer.json()["access_token"])

    return IdentityAssertionOAuthProvider(
        URL,
        Memory(),
        GIVEN["client_id"],
        GIVEN["client_secret"],
        issuer,
        assertion,
        token_endpoint_auth_method="client_secret_basic",
    )


def main() -> None:
    auth = logged_in() if SCENARIO.startswith("auth/") else None
    with MCPServer(URL, auth=auth, approve=False, elicitation=lambda _: Approve()) as server:
        calls = [
            ToolCall(
                f"call-{number}",
                tool.name,
                {
                    name: VALUES.get(schema.get("type"), "seven")
                    for name, schema in tool.parameters.get("properties", {}).items()
                },
            )
            for number, tool in enumerate(server.tools())
        ]
        model = ScriptedModel([*([calls] if calls else []), "That is all."])
        config = RedisConfig(url="memory://")
        with SessionAgent(AgentConfig(model=model), [server], redis_config=config) as agent:
            manager = SessionManager(agent)
            session_id = manager.create_or_resume_session()
            result = manager.run(session_id, "Call everything.")
            while result.waiting:
                yes = {call.id: Approve() for call in result.waiting}
                result = manager.answer(session_id, result.turn_id, yes)
            wrong = [step.text for step in result.steps if step.metadata.get("is_error")]
            if wrong:
                sys.exit(f"tools failed: {wrong}")


if __name__ == "__main__":
    main()
