"""Short stories whose hero, place and thing stay the same from start to end."""

HEROES = ["fox", "rabbit", "bear", "mouse", "cat", "dog", "owl", "duck", "frog", "horse",
          "hedgehog", "squirrel", "robot", "dragon", "girl", "boy", "king", "farmer", "lion",
          "elephant", "bee", "penguin", "sailor", "baker", "wizard"]
NAMES = ["Ben", "Mia", "Tom", "Lily", "Max", "Anna", "Leo", "Rosa", "Sam", "Ella", "Jack",
         "Nora", "Tim", "Ruby", "Finn", "Clara"]
PLACES = ["in a green forest", "by a blue lake", "on a small farm", "in an old town",
          "near the sea", "at the foot of a mountain", "in a quiet valley", "by a wide river"]
THINGS = ["red ball", "silver key", "blue kite", "golden ring", "small boat", "yellow hat",
          "green lamp", "old map", "warm coat", "little drum", "shiny stone", "paper star"]
MOODS = ["kind", "brave", "curious", "clever", "cheerful", "quiet"]
FINDING = ["under a tree", "behind a rock", "in a hollow log", "beside the path",
           "under the bridge", "in the tall grass"]
SHE = {"Mia", "Lily", "Anna", "Rosa", "Ella", "Nora", "Ruby", "Clara"}


def article(noun):
    """A noun with `a` or `an`."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _lost(s):
    return [f"One day {s.name} lost {s.his} {s.thing}.",
            f"{s.he.capitalize()} looked everywhere, but {s.he} could not find it.",
            f"Then {s.friend} the {s.other} came to help.",
            f"Together they found the {s.thing} {s.spot}.",
            f"{s.name} was very happy and thanked {s.friend}."]


def _found(s):
    return [f"One morning {s.name} found {article(s.thing)} {s.spot}.",
            f"\"Whose {s.thing} is this?\" asked {s.name}.",
            f"{s.friend} the {s.other} was looking for it and felt sad.",
            f"So {s.name} gave the {s.thing} back to {s.friend}.",
            f"{s.friend} smiled, and the two became good friends."]


def _storm(s):
    return ["One night there was a big storm.",
            f"{s.friend} the {s.other} was cold and had no place to sleep.",
            f"{s.name} opened the door and said, \"Come in, {s.friend}!\"",
            f"They drank hot tea and talked about the {s.thing}.",
            "In the morning the sun came out, and they were friends."]


def _gift(s):
    return [f"{s.name} wanted to give {s.friend} the {s.other} a gift.",
            f"{s.he.capitalize()} had only {article(s.thing)}, and {s.he} loved it very much.",
            f"But {s.friend} was sad that day.",
            f"So {s.name} gave {s.friend} the {s.thing}.",
            f"{s.friend} laughed, and {s.name} was happy too."]


def _race(s):
    return [f"One day {s.friend} the {s.other} said, \"Let us have a race!\"",
            f"{s.name} ran fast, but then {s.he} saw {article(s.thing)} {s.spot}.",
            f"{s.he.capitalize()} stopped to pick it up, and {s.friend} won the race.",
            f"\"You won, {s.friend},\" said {s.name}, \"but I have the {s.thing}!\"",
            "They both laughed and walked home together."]


_PLOTS = [_lost, _found, _storm, _gift, _race]
_ENDINGS = ["", "", " The end.", " From that day on, they played together every day."]


class _Scene:
    """The choices that one story keeps to."""

    def __init__(self, rng, hero=None, thing=None):
        self.hero = hero or rng.choice(HEROES)
        self.other = rng.choice([h for h in HEROES if h != self.hero])
        self.name, self.friend = rng.sample(NAMES, 2)
        she = self.hero == "girl" or (self.hero not in ("boy", "king") and self.name in SHE)
        if self.hero in ("girl", "boy", "king"):
            self.name = rng.choice([n for n in NAMES if (n in SHE) == she and n != self.friend])
        self.he, self.his = ("she", "her") if she else ("he", "his")
        self.thing = thing or rng.choice(THINGS)
        self.spot = rng.choice(FINDING)
        self.place = rng.choice(PLACES)
        self.mood = rng.choice(MOODS)


def story(rng, hero=None, thing=None):
    """Return one story of about seven sentences."""
    s = _Scene(rng, hero, thing)
    start = rng.choice([
        f"Once upon a time there was a {s.mood} {s.hero} named {s.name}, who lived {s.place}.",
        f"There once was a {s.mood} {s.hero} called {s.name}. {s.name} lived {s.place}."])
    return " ".join([start] + rng.choice(_PLOTS)(s)) + rng.choice(_ENDINGS)


_ASK = ["Tell me a story.", "Tell me a short story.", "Write a short story.", "Write a story.",
        "Can you tell me a story?", "I want to hear a story.", "story please",
        "Please tell me a story.", "A story, please!", "Once upon a time"]
_ASK_HERO = ["Tell me a story about {a}.", "Write a short story about {a}.",
             "Tell me a short story about {a}.", "Can you tell me a story about {a}?",
             "Write a story about {a}.", "a story about {a}", "short story about {a}",
             "Please write a story about {a}.", "I want to hear a story about {a}."]


def asked(rng):
    """Return a request for a story and the story."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(_ASK), story(rng)
    hero, thing = rng.choice(HEROES), None
    about = article(hero)
    if kind > 0.75:
        thing = rng.choice(THINGS)
        about += " and " + article(thing)
    return rng.choice(_ASK_HERO).format(a=about), story(rng, hero, thing)
