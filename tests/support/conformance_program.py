# mypy: ignore-errors
"""
An MCP server with the tools, resources and prompts that the conformance suite asks for: the official SDK.

C{stdio} serves standard input and output, a port HTTP at C{/mcp}. A second word is the file of another
server, whose C{mcp} is an C{MCPServer}.
"""

from __future__ import annotations

import asyncio
import base64
import json
import runpy
import sys
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.types import (
    AudioContent,
    Completion,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

# A dot, and silence.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="

ASKED_FOR = "The suite asks for it."

mcp = MCPServer("conformance", version="1")


def text(said: str) -> TextContent:
    return TextContent(type="text", text=said)


def resource(uri: str, kind: str, said: str) -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type=kind, text=said)
    )


def image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


# --- tools ---


@mcp.tool(description=ASKED_FOR)
def test_simple_text() -> str:
    return "This is a simple text response for testing."


@mcp.tool(description=ASKED_FOR)
def test_image_content() -> list[ImageContent]:
    return [image()]


@mcp.tool(description=ASKED_FOR)
def test_audio_content() -> list[AudioContent]:
    return [AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


@mcp.tool(description=ASKED_FOR)
def test_embedded_resource() -> list[EmbeddedResource]:
    return [resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


@mcp.tool(description=ASKED_FOR)
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    mixed = resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return [text("Multiple content types test:"), image(), mixed]


@mcp.tool(description=ASKED_FOR)
async def test_tool_with_logging(ctx: Context) -> str:
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(said)
        await asyncio.sleep(0.05)
    return "done"


@mcp.tool(description=ASKED_FOR)
async def test_tool_with_progress(ctx: Context) -> str:
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100)
        await asyncio.sleep(0.05)
    return "done"


@mcp.tool(description=ASKED_FOR)
def test_error_handling() -> str:
    raise RuntimeError("This tool intentionally returns an error for testing")


@mcp.tool(description=ASKED_FOR)
async def test_sampling(prompt: str, ctx: Context) -> str:
    asked = [SamplingMessage(role="user", content=text(prompt))]
    result = await ctx.session.create_message(
        messages=asked, max_tokens=100, related_request_id=ctx.request_id
    )
    return f"LLM response: {result.content.text}"


async def elicited(ctx: Context, message: str, schema: type[BaseModel]) -> str:
    result = await ctx.elicit(message=message, schema=schema)
    content = result.data.model_dump_json() if result.action == "accept" else "{}"
    return f"Elicitation completed: action={result.action}, content={content}"


class Answer(BaseModel):
    response: str = Field(description="User's response")


@mcp.tool(description=ASKED_FOR)
async def test_elicitation(message: str, ctx: Context) -> str:
    return await elicited(ctx, message, Answer)


STATUS = ["active", "inactive", "pending"]


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": STATUS})
    verified: bool = True


@mcp.tool(description=ASKED_FOR)
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    return await elicited(ctx, "Defaults", Defaults)


def titled(*names: str) -> list[dict[str, str]]:
    return [{"const": name, "title": name.title()} for name in names]


class Choices(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": STATUS})
    titledSingle: str = Field(json_schema_extra={"oneOf": titled("low", "medium", "high")})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": STATUS}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": titled("bug", "docs", "test")}})
    legacyEnum: str = Field(json_schema_extra={"enum": STATUS, "enumNames": ["On", "Off", "Later"]})


@mcp.tool(description=ASKED_FOR)
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    return await elicited(ctx, "Choices", Choices)


@mcp.tool(description=ASKED_FOR)
async def test_reconnection(ctx: Context) -> str:
    await ctx.info("before")
    await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    return "Reconnection test completed"


Region = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]


@mcp.tool(description=ASKED_FOR)
def test_x_mcp_header(region: Region) -> str:
    return region


@mcp.tool(description=ASKED_FOR)
def json_schema_2020_12_tool() -> str:
    return "done"


mcp._tool_manager._tools["json_schema_2020_12_tool"].parameters = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


# --- resources and prompts ---


@mcp.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@mcp.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    return base64.b64decode(PNG)


@mcp.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@mcp.resource("test://watched-resource")
def watched() -> str:
    return "watched"


@mcp.prompt(description=ASKED_FOR)
def test_simple_prompt() -> list[UserMessage]:
    return [UserMessage(content=text("This is a simple prompt for testing."))]


@mcp.prompt(description=ASKED_FOR)
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    return [UserMessage(content=text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]


@mcp.prompt(description=ASKED_FOR)
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
    embedded = resource(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [UserMessage(content=embedded), UserMessage(content=text("Please process it."))]


@mcp.prompt(description=ASKED_FOR)
def test_prompt_with_image() -> list[UserMessage]:
    return [UserMessage(content=image()), UserMessage(content=text("Please look at it."))]


# --- the rest ---


@mcp.completion()
async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    return Completion(values=[], total=0, has_more=False)


async def nothing(ctx: Any, params: Any) -> EmptyResult:
    return EmptyResult()


for method, params in (
    ("logging/setLevel", SetLevelRequestParams),
    ("resources/subscribe", SubscribeRequestParams),
    ("resources/unsubscribe", UnsubscribeRequestParams),
):
    mcp._lowlevel_server.add_request_handler(method, params, nothing)


if __name__ == "__main__":
    where, *others = sys.argv[1:]
    server = runpy.run_path(others[0])["mcp"] if others else mcp
    if where == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(where))
