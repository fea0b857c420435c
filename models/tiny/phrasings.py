"""The ways a question about a country is asked, and those kept back from training."""

import zlib

# Trained: {c} is the country.
CAPITAL = [
    "What is the capital of {c}?",
    "What's the capital of {c}?",
    "What is the capital city of {c}?",
    "What's the capital city of {c}?",
    "What is {c}'s capital?",
    "What is {c}'s capital city?",
    "Tell me the capital of {c}.",
    "Tell me the capital city of {c}.",
    "Tell me what the capital of {c} is.",
    "Tell me {c}'s capital.",
    "Can you tell me what the capital of {c} is?",
    "Could you tell me the capital of {c}?",
    "Do you know the capital of {c}?",
    "Do you know {c}'s capital?",
    "I want to know the capital of {c}.",
    "I need the capital of {c}.",
    "I need to know what the capital of {c} is.",
    "Please tell me the capital of {c}.",
    "Please give me the capital of {c}.",
    "Give me the capital of {c}.",
    "Give me the name of the capital of {c}.",
    "What is the name of the capital of {c}?",
    "What city is the capital of {c}?",
    "Which city is {c}'s capital?",
    "Which is the capital of {c}?",
    "Name {c}'s capital.",
    "Name the capital city of {c}.",
    "What capital does {c} have?",
    "Which capital city does {c} have?",
    "For {c}, what is the capital?",
    "What would you say is the capital of {c}?",
    "In {c}, which city is the capital?",
    "The capital of {c}?",
    "The capital of {c}",
    "The capital of {c} is",
    "The capital of {c} is?",
    "The capital city of {c} is",
    "capital of {c}",
    "capital city of {c}",
    "capital {c}",
    "{c} capital",
    "{c} capital city",
    "{c}'s capital",
    "{c}, capital?",
    "Question: what is the capital of {c}?",
    "Hello, what is the capital of {c}?",
    "Quick question: capital of {c}?",
    "Say the capital of {c}.",
    "Write the capital of {c}.",
]

# Never trained with any country.
CAPITAL_HELD_OUT = [
    "Which city is the capital of {c}?",
    "Can you tell me the capital of {c}?",
    "Name the capital of {c}.",
    "Do you know what the capital of {c} is?",
    "I would like to know the capital of {c}.",
    "What's the name of {c}'s capital city?",
    "Please name the capital city of {c}.",
    "{c}: what is the capital?",
    "Hi! Could you give me the capital of {c}?",
    "What city is {c}'s capital?",
]

CONTINENT = [
    "Where is {c}?", "In which continent is {c}?", "Which continent is {c} in?",
    "What continent is {c} in?", "On which continent is {c}?", "Where is {c} located?",
    "Where in the world is {c}?", "continent of {c}", "{c} continent",
    "Tell me the continent of {c}.", "Can you tell me where {c} is?",
    "Do you know where {c} is?", "Name the continent of {c}.",
]
LANGUAGE = [
    "What language do they speak in {c}?", "Which language is spoken in {c}?",
    "What language is spoken in {c}?", "What do people speak in {c}?",
    "What is the language of {c}?", "language of {c}", "{c} language",
    "Tell me the language of {c}.", "Can you tell me a language of {c}?",
    "Which language do people in {c} speak?", "Name a language of {c}.",
]
CURRENCY = [
    "What is the currency of {c}?", "What currency do they use in {c}?",
    "Which currency is used in {c}?", "What money do they use in {c}?",
    "currency of {c}", "{c} currency", "Tell me the currency of {c}.",
    "What is the money of {c}?", "Name the currency of {c}.",
    "Can you tell me the currency of {c}?", "How do people pay in {c}?",
]
ABOUT = [
    "Tell me about {c}.", "What do you know about {c}?", "Describe {c}.", "Tell me more about {c}.",
    "What can you tell me about {c}?", "facts about {c}", "Write something about {c}.",
]
BY_CAPITAL = [
    "{k} is the capital of which country?", "Which country has the capital {k}?",
    "What country is {k} the capital of?", "Of which country is {k} the capital?",
    "{k} is the capital of", "Whose capital is {k}?",
    "Name the country whose capital is {k}.",
]


def held_out(name, phrasing):
    """Whether this trained phrasing is kept from this country: one pair in ten."""
    bare = phrasing.lower().rstrip("?.!")
    return zlib.crc32(f"{name}|{bare}".encode()) % 10 == 0
