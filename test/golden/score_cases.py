"""What `realm score --file` of test/golden/stories.txt is compared with: by score_test.py with
what llama.cpp said once, and by peer_test.py with what it says now.

The stories are of the kind that models/tiny was trained on.
"""

import json
import subprocess
from pathlib import Path

STORIES = Path(__file__).with_name("stories.txt")

# The type that the model is brought to, the window, what llama.cpp says (with KV in f32), and
# how far off may be.  Where activations are rounded to int8, the two round them in different
# ways, which is noise in each log-probability: three digits agree.  In F32 nothing is rounded
# on purpose.
CASES = [
    ("Q8_0", 128, 2.07050, 1e-3),
    ("Q4_K_M", 512, 2.02651, 1e-3),
    ("F32", 512, 2.02790, 1e-4),
]


def quantized(realm, model, folder, kind):
    """MODEL, whose weights are Q8_0, as another type."""
    if kind == "Q8_0":
        return Path(model)
    path = Path(folder, f"{kind}.gguf")
    subprocess.run([realm, "quantize", model, path, kind], check=True, capture_output=True)
    return path


def score(realm, model, text, window):
    return json.loads(subprocess.run(
        [realm, "score", "-m", model, "--kv", "f32", "--file", text, "--window", str(window),
         "--json"], check=True, capture_output=True).stdout)
