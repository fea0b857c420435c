"""Small tables of everyday knowledge for the tiny model's corpus."""


def _rows(text):
    """Split a table of `a|b|c` lines into tuples."""
    return [tuple(line.split("|")) for line in text.strip().splitlines()]


# name | sound or '' | legs | where it lives | its young | what it eats | class
ANIMALS = _rows("""
cow|moo|4|on a farm|calf|grass|mammal
dog|woof|4|in a house|puppy|meat|mammal
cat|meow|4|in a house|kitten|fish|mammal
sheep|baa|4|on a farm|lamb|grass|mammal
duck|quack|2|on a pond|duckling|water plants|bird
horse|neigh|4|in a stable|foal|hay|mammal
pig|oink|4|on a farm|piglet|roots|mammal
hen|cluck|2|in a coop|chick|seeds|bird
lion|roar|4|on the savanna|cub|meat|mammal
frog|croak|4|in a pond|tadpole|insects|amphibian
owl|hoot|2|in a tree|owlet|mice|bird
bee|buzz|6|in a hive|larva|nectar|insect
wolf|howl|4|in the forest|pup|meat|mammal
mouse|squeak|4|in a hole|pup|seeds|mammal
snake|hiss|0|in the grass|hatchling|mice|reptile
bear|growl|4|in the forest|cub|berries|mammal
goat|bleat|4|on a farm|kid|grass|mammal
spider||8|in a web|spiderling|insects|arachnid
ant||6|in a nest|larva|seeds|insect
fish||0|in the water|fry|small plants|fish
shark||0|in the sea|pup|fish|fish
whale||0|in the sea|calf|tiny shrimp|mammal
rabbit||4|in a burrow|kit|grass|mammal
fox||4|in a den|cub|mice|mammal
deer||4|in the forest|fawn|leaves|mammal
elephant||4|on the savanna|calf|leaves|mammal
giraffe||4|on the savanna|calf|leaves|mammal
kangaroo||2|in Australia|joey|grass|mammal
penguin||2|on the ice|chick|fish|bird
eagle||2|in the mountains|eaglet|small animals|bird
crab||10|on the beach|larva|small animals|crustacean
butterfly||6|in a garden|caterpillar|nectar|insect
camel||4|in the desert|calf|dry plants|mammal
monkey||4|in the jungle|infant|fruit|mammal
tiger||4|in the jungle|cub|meat|mammal
turtle||4|in the sea|hatchling|sea grass|reptile
swan||2|on a lake|cygnet|water plants|bird
""")

# thing (with article or plural) | is or are | colour
COLOURS = _rows("""
the sky|is|blue
grass|is|green
snow|is|white
the sun|is|yellow
a banana|is|yellow
a strawberry|is|red
a tomato|is|red
a lemon|is|yellow
coal|is|black
milk|is|white
a carrot|is|orange
an orange|is|orange
a cherry|is|red
blood|is|red
the sea|is|blue
a leaf|is|green
a frog|is|green
a crow|is|black
a swan|is|white
a pig|is|pink
a flamingo|is|pink
chocolate|is|brown
a bear|is|brown
the night sky|is|black
an elephant|is|grey
a mouse|is|grey
a cucumber|is|green
salt|is|white
a plum|is|purple
a pumpkin|is|orange
a fire engine|is|red
cotton|is|white
""")

# first + second = mix
MIXES = _rows("""
blue|yellow|green
red|yellow|orange
red|blue|purple
red|white|pink
black|white|grey
""")

OPPOSITES = _rows("""
hot|cold
big|small
up|down
left|right
day|night
fast|slow
happy|sad
old|young
open|closed
full|empty
light|dark
high|low
wet|dry
hard|soft
good|bad
strong|weak
early|late
rich|poor
long|short
loud|quiet
near|far
clean|dirty
true|false
heavy|light
first|last
inside|outside
push|pull
yes|no
start|stop
begin|end
buy|sell
win|lose
love|hate
black|white
north|south
east|west
thick|thin
wide|narrow
easy|difficult
sweet|sour
""")
ONE_WAY = {("heavy", "light")}

LISTS = {
    "fruits": "apple banana cherry grape lemon mango orange peach pear plum".split(),
    "vegetables": "bean cabbage carrot cucumber leek onion pea potato spinach turnip".split(),
    "animals": "bear cat cow dog fox horse lion mouse rabbit wolf".split(),
    "colours": "black blue brown green orange pink purple red white yellow".split(),
    "birds": "crow duck eagle hen owl penguin robin sparrow swan".split(),
    "tools": "axe drill hammer ladder saw screwdriver spade wrench".split(),
    "shapes": "circle cube oval square star triangle".split(),
    "instruments": "drum flute guitar harp piano trumpet violin".split(),
    "drinks": "coffee juice lemonade milk tea water".split(),
    "sports": "chess football hockey rowing swimming tennis".split(),
    "metals": "copper gold iron lead silver tin".split(),
    "flowers": "daisy lily poppy rose tulip violet".split(),
}
SINGULAR = {"fruits": "fruit", "vegetables": "vegetable", "animals": "animal",
            "colours": "colour", "birds": "bird", "tools": "tool", "shapes": "shape",
            "instruments": "instrument", "drinks": "drink", "sports": "sport",
            "metals": "metal", "flowers": "flower"}

CYCLES = {
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "month": ("January February March April May June July August September October "
              "November December").split(),
    "season": "spring summer autumn winter".split(),
}
PLANETS = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split()

WORDS = ("apple river stone cloud green happy garden window silver paper bread music yellow "
         "little winter summer ocean mountain candle bridge forest lamp table chair book door "
         "hello world good morning night star moon sun rain snow wind fire water tree leaf "
         "bird cat dog fish horse house road train boat ship ball box cup hat shoe coat ring "
         "king queen friend family letter story song dance sleep dream walk run jump sing").split()

NUMBERS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen "
           "fourteen fifteen sixteen seventeen eighteen nineteen twenty").split()

# question | answer: facts that fit no table
FACTS = _rows("""
How many days are in a week?|There are 7 days in a week.
How many months are in a year?|There are 12 months in a year.
How many hours are in a day?|There are 24 hours in a day.
How many minutes are in an hour?|There are 60 minutes in an hour.
How many seconds are in a minute?|There are 60 seconds in a minute.
How many days are in a year?|There are 365 days in a year.
How many letters are in the alphabet?|There are 26 letters in the English alphabet.
How many continents are there?|There are 7 continents.
How many planets are there?|There are 8 planets in our solar system.
How many sides does a triangle have?|A triangle has 3 sides.
How many sides does a square have?|A square has 4 sides.
How many fingers are on a hand?|There are 5 fingers on a hand.
How many wheels does a bicycle have?|A bicycle has 2 wheels.
How many wheels does a car have?|A car has 4 wheels.
How many legs does a person have?|A person has 2 legs.
What is the largest planet?|Jupiter is the largest planet.
What is the smallest planet?|Mercury is the smallest planet.
What is the largest ocean?|The Pacific is the largest ocean.
What is the highest mountain?|Mount Everest is the highest mountain.
What is the largest animal?|The blue whale is the largest animal.
What is the fastest animal on land?|The cheetah is the fastest animal on land.
What is the tallest animal?|The giraffe is the tallest animal.
What is the largest country?|Russia is the largest country.
What is the smallest country?|Vatican City is the smallest country.
Which planet do we live on?|We live on Earth.
What do bees make?|Bees make honey.
What do cows give us?|Cows give us milk.
What do hens lay?|Hens lay eggs.
What is ice?|Ice is frozen water.
What is steam?|Steam is water as a gas.
What is rain?|Rain is water that falls from clouds.
At what temperature does water freeze?|Water freezes at 0 degrees Celsius.
At what temperature does water boil?|Water boils at 100 degrees Celsius.
What do plants need to grow?|Plants need light, water and air to grow.
Where does the sun rise?|The sun rises in the east.
Where does the sun set?|The sun sets in the west.
What is the moon?|The moon is a ball of rock that goes around Earth.
What is the sun?|The sun is a star.
What do we use to tell the time?|We use a clock to tell the time.
What is a library?|A library is a place where people read and borrow books.
What is bread made of?|Bread is made of flour, water and yeast.
What is cheese made of?|Cheese is made of milk.
What is a computer?|A computer is a machine that follows instructions.
What is a server?|A server is a program that answers requests from other programs.
What is a language model?|A language model is a program that guesses the next piece of a text.
What is a token?|A token is a small piece of text, such as a word or part of a word.
""")

# question | answer: who the model is
IDENTITY = _rows("""
Who are you?|I am Realm's tiny model, a very small language model.
What are you?|I am Realm's tiny model, a very small language model.
What is your name?|I am Realm's tiny model.
Are you a human?|No, I am a very small language model.
Are you a robot?|I am a very small language model, not a robot.
Who made you?|I was made by the Realm project from text that it wrote itself.
What is Realm?|Realm is a server for language models, written in C.
How big are you?|I have about 4 million parameters, which is very small.
What can you do?|I know capitals, small sums and simple facts, and I can tell short stories.
How were you trained?|I was trained on text that the Realm project wrote for me.
Are you smart?|I am very small, so I know only a few things.
Can you help me?|Yes. Ask me about capitals, small sums or simple facts.
Tell me about yourself.|I am Realm's tiny model. I know capitals, small sums and short stories.
Introduce yourself.|Hello! I am Realm's tiny model, a very small language model.
""")

GREETINGS = _rows("""
Hello|Hello! How can I help you?
Hello!|Hello! How can I help you?
Hi|Hello! How can I help you?
Hi there!|Hello! How can I help you?
Hey|Hello! How can I help you?
Good morning|Good morning! How can I help you?
Good morning!|Good morning! How can I help you?
Good evening|Good evening! How can I help you?
Good evening!|Good evening! How can I help you?
Good afternoon!|Good afternoon! How can I help you?
Good night|Good night! Sleep well.
How are you?|I am well, thank you. How can I help you?
How are you doing?|I am well, thank you. How can I help you?
What's up?|I am ready to help. What would you like to know?
Thanks|You are welcome!
Thank you|You are welcome!
Thank you!|You are welcome!
Thanks a lot!|You are welcome!
Goodbye|Goodbye! Have a nice day.
Bye|Goodbye! Have a nice day.
See you later!|Goodbye! Have a nice day.
Nice to meet you|Nice to meet you too!
test|I am here. What would you like to know?
Are you there?|I am here. What would you like to know?
ok|Is there anything else you would like to know?
""")

# language | hello | thank you
GREETINGS_ABROAD = _rows("""
French|bonjour|merci
Spanish|hola|gracias
German|hallo|danke
Italian|ciao|grazie
Portuguese|ola|obrigado
""")

SYSTEMS = [
    "You are a helpful assistant.",
    "You are Realm's tiny model.",
    "You are a helpful, honest assistant.",
    "You are a friendly assistant.",
    "Answer briefly.",
    "Be brief and polite.",
    "You are a kind teacher.",
    "Answer the question.",
]
ONE_WORD_SYSTEMS = ["Answer with one word.", "Reply with the answer only.",
                    "Give only the answer, no sentence."]
