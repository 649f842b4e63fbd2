"""Between LangChain and a call: conversation, schema, errors and tracing."""
