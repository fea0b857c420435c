#include "text/pretok_rules.h"

#include <stddef.h>

#include "base/compiler.h"

/* White_Space of Unicode; PCRE2's \s has one character more. */
#define S                                                            \
    "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}" \
    "\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define SPACE "[" S "]"
#define NO_MORE "(?![^" S "])"
#define LAST_SPACES SPACE "+" NO_MORE "|" SPACE "+"
#define NEWLINES SPACE "*[\\r\\n]++"
/* Gives up a match that began in this run; the search goes on behind it. */
#define SKIP "(*SKIP)(*FAIL)"

#define LINES "[^\\n]++|\\n++"

/* What is no letter, number or space. */
#define OTHERS " ?[^" S "\\p{L}\\p{N}]++"
#define ONE_DIGIT "\\p{N}"
#define THREE_DIGITS "\\p{N}{1,3}+"

/* The rules published with GPT-2. */
#define GPT2 "'(?:[stmd]|re|ve|ll)| ?\\p{L}++| ?\\p{N}++|" OTHERS "|" LAST_SPACES

/* Those that began with GPT-4: a word may have one other character before it.  Case
 * is ignored as Unicode does, by which an s may be long. */
#define SHORTENED "'(?:[sStTmMdD\\x{17F}]|[rR][eE]|[vV][eE]|[lL][lL])"
#define MAYBE_SHORTENED "(?:" SHORTENED ")?"
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define WORDS SHORTENED "|" BEFORE "\\p{L}++"
#define GPT4(digits) WORDS "|" digits "|" OTHERS "[\\r\\n]*+|" NEWLINES "|" LAST_SPACES

/* Those that began with GPT-4o: a word ends where its small letters end.  Letters
 * without case are in both classes: of them alone does the first run give back. */
#define CASED(upper, lower, shortened) \
    BEFORE upper "*" lower "++" shortened "|" BEFORE upper "++" lower "*+" shortened
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define GPT4O(shortened, digits) \
    CASED(UPPER, LOWER, shortened) "|" digits "|" OTHERS "[\\r\\n/]*+|" NEWLINES "|" LAST_SPACES

/* Kimi's keep Han apart: its classes are those above without Han, told by what they are not.
 * The script itself is meant, without what it shares with others. */
#define NO_HAN "\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}]"
#define KIMI                                                                                   \
    "\\p{sc:Han}++|" CASED("[^\\p{Ll}" NO_HAN, "[^\\p{Lu}\\p{Lt}" NO_HAN,                      \
                           MAYBE_SHORTENED) "|" THREE_DIGITS "|" OTHERS "[\\r\\n]*+|" NEWLINES \
                                            "|" LAST_SPACES

#define DEEPSEEK_WORDS                                                        \
    "[!-/:-@\\[-`{-~][A-Za-z]++|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]++" \
    "| ?[\\p{P}\\p{S}]++"
#define DEEPSEEK_V3 DEEPSEEK_WORDS "[\\r\\n]*+|" NEWLINES "|" LAST_SPACES
#define DEEPSEEK_HAN "[\\x{800}-\\x{9FA5}\\x{AC00}-\\x{D7FF}]++"
#define HAN_KANA "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{30FF}]++"
/* Letters with case, of the version of Unicode that the model was made with. */
#define DEEPSEEK_CASED                                                                      \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"          \
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"  \
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"           \
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"                \
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"          \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"          \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}" \
    "\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}"  \
    "\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}"          \
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"           \
    "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}"            \
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}" \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"  \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"           \
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}"          \
    "\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"        \
    "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}"  \
    "\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"

/* Trinity's scripts without spaces, which do not run into each other. */
#define AFMOE_SCRIPTS                                                                        \
    "[\\x{4E00}-\\x{9FFF}\\x{3040}-\\x{30FF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}"          \
    "\\x{FF65}-\\x{FF9F}\\x{2F00}-\\x{2FDF}]++|[\\x{E00}-\\x{E7F}]++|[\\x{E80}-\\x{EFF}]++"  \
    "|[\\x{1780}-\\x{17FF}]++|[\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}\\x{A9E0}-\\x{A9FF}]++" \
    "|[\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]++"

/* SuperBPE cuts a number before each decimal digit that threes go on from to the end of its
 * run; signs among the digits, like a half, stay with what is before them.  A piece begins
 * inside a run with a three, or at a run with what the threes leave of it.  So a run is
 * counted where it begins, and not at every three. */
#define RUN_LEAD "(?:\\d{1,2}+(?!\\d)|\\d{1,2}?(?=(?:\\d{3})++(?!\\d)))"
#define RUN_TAIL "(?:\\D++" RUN_LEAD "?+)*+"
#define SUPERBPE_NUMBER                                                                  \
    "(?<=\\d)\\d{3}" RUN_TAIL "|" RUN_LEAD RUN_TAIL "|\\d{3}" RUN_TAIL "|\\D++" RUN_LEAD \
    "?+" RUN_TAIL

/* Characters of words as Unicode has them (UTS #18). */
#define WORD_CHARACTERS                                                      \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200C}\\x{200D}\\x{24B6}-\\x{24E9}" \
    "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"

/* Words as BLOOM has them: anything but spaces and the signs ( | . , ! ? ) of many scripts. */
#define BLOOM " ?[^" S "(|.,!?)\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C}]++"

static const struct pretok_rules default_rules = {
    .stages = {{"[\\p{P}$+<=>^~|]++", 0}, {GPT2, STAGE_COVERS}, {"\\p{N}++", 0}, {"[0-9]{3}", 0}},
};
static const struct pretok_rules gpt2_rules = {.stages = {{GPT2, STAGE_COVERS}}};
static const struct pretok_rules neox_rules = {
    .stages = {{GPT2, STAGE_COVERS}},
    .composes = true,
};
static const struct pretok_rules digits_rules = {
    .stages = {{ONE_DIGIT, 0}, {GPT2, STAGE_COVERS}},
};
static const struct pretok_rules command_r_rules = {
    .stages = {{ONE_DIGIT, 0}, {GPT2, STAGE_COVERS}},
    .composes = true,
};
/* What stands for pictures comes first, then each tab, line end, sign and digit alone. */
static const struct pretok_rules chameleon_rules = {
    .stages = {{"<sentinel:[0-9]++>", 0},
               {"IMGIMG[A-I]{1,4}+Z", 0},
               {"[\\t\\n]|    |  ", 0},
               {ONE_DIGIT, 0},
               {"[\\p{P}!-/:-@\\[-`{-~]", 0},
               {GPT2, STAGE_COVERS}},
    .adds_bos = true,
};
/* Digits are looked for among the characters that spell bytes, of which those for B2,
 * B3, B9 and BC to BE are numbers to Unicode, too. */
static const struct pretok_rules falcon_rules = {
    .stages = {{"[\\p{P}$+<=>^`~|]++", 0},
               {GPT2, STAGE_COVERS},
               {"[0-9\\xB2\\xB3\\xB9\\xBC-\\xBE]++", STAGE_BYTES},
               {"[0-9]{3}", STAGE_BYTES}},
};
static const struct pretok_rules qwen2_rules = {
    .stages = {{GPT4(ONE_DIGIT), STAGE_COVERS}},
    .composes = true,
};
static const struct pretok_rules qwen35_rules = {
    .stages = {{SHORTENED "|" BEFORE "[\\p{L}\\p{M}]++|" ONE_DIGIT "| ?[^" S "\\p{L}\\p{M}\\p{N}]++"
                          "[\\r\\n]*+|" NEWLINES "|" LAST_SPACES,
                STAGE_COVERS}},
    .composes = true,
};
static const struct pretok_rules one_digit_rules = {.stages = {{GPT4(ONE_DIGIT), STAGE_COVERS}}};
static const struct pretok_rules cl100k_rules = {.stages = {{GPT4(THREE_DIGITS), STAGE_COVERS}}};
static const struct pretok_rules llama3_rules = {
    .stages = {{GPT4(THREE_DIGITS), STAGE_COVERS}},
    .adds_bos = true,
    .whole_words = true,
};
static const struct pretok_rules laguna_rules = {
    .stages = {{LINES, STAGE_COVERS}, {GPT4(ONE_DIGIT), STAGE_COVERS}},
};
static const struct pretok_rules minicpm5_rules = {
    .stages = {{THREE_DIGITS, 0}, {GPT4("\\p{N}++"), STAGE_COVERS}},
    .whole_words = true,
};
static const struct pretok_rules bailing_rules = {
    .stages = {{WORDS "|" ONE_DIGIT "|" OTHERS "[\\r\\n]*+|" SPACE "*[\\r\\n]|" LAST_SPACES,
                STAGE_COVERS}},
};
static const struct pretok_rules seed_rules = {
    .stages = {{WORDS "|" ONE_DIGIT "| ?[^" S "\\p{L}\\p{N}\\r\\n]++|" NEWLINES "|" LAST_SPACES,
                STAGE_COVERS}},
};
static const struct pretok_rules exaone_moe_rules = {
    .stages = {{SHORTENED "|" BEFORE "\\p{L}\\p{M}*+(?: ?\\p{L}\\p{M}*+)*+|" ONE_DIGIT "|" OTHERS
                          "[\\r\\n/]?|" SPACE "*[\\r\\n]|" LAST_SPACES,
                STAGE_COVERS}},
};
#define RUN(n) SPACE "{" n "}" NO_MORE "|"
static const struct pretok_rules jais2_rules = {
    .stages = {{WORDS "|" THREE_DIGITS "|" OTHERS "[\\r\\n]*+|" NEWLINES "|" RUN("512") RUN("256")
                    RUN("128") RUN("64") RUN("32") RUN("16") RUN("8") RUN("4") RUN("1,2") SPACE,
                STAGE_COVERS}},
};
static const struct pretok_rules gpt4o_rules = {
    .stages = {{GPT4O(MAYBE_SHORTENED, THREE_DIGITS), STAGE_COVERS}},
};
static const struct pretok_rules granite_embed_rules = {
    .stages = {{GPT4O(MAYBE_SHORTENED, THREE_DIGITS), STAGE_COVERS}},
    .whole_words = true,
};
static const struct pretok_rules tekken_rules = {
    .stages = {{GPT4O("", ONE_DIGIT), STAGE_COVERS}},
    .adds_bos = true,
    .whole_words = true,
};
/* Threes from the right, of a number that no word goes on after. */
static const struct pretok_rules aya_rules = {
    .stages =
        {{"\\p{Nd}++(?:(?![\\p{L}\\p{M}\\p{Nl}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}\\x{24B6}-"
          "\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}])|" SKIP ")",
          STAGE_THREES},
         {GPT4O(MAYBE_SHORTENED, THREE_DIGITS), STAGE_COVERS}},
};
static const struct pretok_rules youtu_rules = {
    .stages =
        {{"[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]++|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}"
          "\\x{2018}\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-"
          "\\x{FE4F}]++|[\\x{3105}-\\x{312F}]++|" HAN_KANA,
          0},
         {GPT4O(MAYBE_SHORTENED, ONE_DIGIT), STAGE_COVERS}},
    .whole_words = true,
};
static const struct pretok_rules kimi_rules = {.stages = {{KIMI, STAGE_COVERS}}};
static const struct pretok_rules deepseek_llm_rules = {
    .stages = {{"[\\r\\n]", 0},
               {SPACE "?[" DEEPSEEK_CASED "]++", 0},
               {SPACE "?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}"
                      "\\x{3000}-\\x{3002}]++",
                0},
               {SPACE "++(?:\\z|" SKIP ")", 0},
               {DEEPSEEK_HAN, 0},
               {ONE_DIGIT, 0}},
};
static const struct pretok_rules deepseek_coder_rules = {
    .stages = {{"[\\r\\n]", 0},
               {SPACE "?\\p{L}++", 0},
               {SPACE "?\\p{P}++", 0},
               {DEEPSEEK_HAN, 0},
               {ONE_DIGIT, 0}},
};
static const struct pretok_rules deepseek_v3_rules = {
    .stages = {{THREE_DIGITS, 0}, {HAN_KANA, 0}, {DEEPSEEK_V3, 0}},
};
/* Digits alone come last in the model's own list: what is before them sees none either way. */
static const struct pretok_rules spark_rules = {
    .stages = {{ONE_DIGIT, 0}, {HAN_KANA, 0}, {DEEPSEEK_WORDS "|[\\r\\n]|" LAST_SPACES, 0}},
};
static const struct pretok_rules afmoe_rules = {
    .stages = {{"\\p{Nd}++", STAGE_THREES}, {AFMOE_SCRIPTS, 0}, {DEEPSEEK_V3, 0}},
};
static const struct pretok_rules superbpe_rules = {
    .stages = {{"\\p{N}++", 0}, {SUPERBPE_NUMBER, 0}},
};
static const struct pretok_rules ufakzeka_rules = {
    .stages = {{BEFORE "\\p{L}++|" ONE_DIGIT "|" OTHERS "[\\r\\n]*+|" NEWLINES "|" LAST_SPACES,
                STAGE_COVERS}},
};
/* Gemma's tokenisers, and others made of them, cut nowhere.  But where no token reaches over
 * the end of a line (bpe.c looks), lines merge by themselves as they do together. */
static const struct pretok_rules gemma_rules = {
    .stages = {{LINES, STAGE_COVERS}},
    .adds_bos = true,
    .needs_bos = true,
    .plain = true,
    .blocks = true,
};
static const struct pretok_rules sarvam_rules = {
    .stages = {{LINES, STAGE_COVERS}},
    .plain = true,
    .blocks = true,
};
static const struct pretok_rules whitespace_rules = {
    .stages = {{"[" WORD_CHARACTERS "]++|[^" WORD_CHARACTERS S "]++", 0}},
    .plain = true,
    .drops_spaces = true,
};
static const struct pretok_rules bloom_rules = {.stages = {{BLOOM, 0}}};
static const struct pretok_rules viking_rules = {.stages = {{BLOOM, 0}, {ONE_DIGIT, 0}}};

static const struct {
    const char *name;
    const struct pretok_rules *rules;
} names[] = {
    // clang-format off
    {"default", &default_rules},
    {"gpt-2", &gpt2_rules}, {"phi-2", &gpt2_rules}, {"jais", &gpt2_rules},
    {"roberta-bpe", &gpt2_rules}, {"jina-v1-en", &gpt2_rules}, {"jina-v2-code", &gpt2_rules},
    {"jina-es", &gpt2_rules}, {"jina-de", &gpt2_rules}, {"jina-v2-es", &gpt2_rules},
    {"jina-v2-de", &gpt2_rules}, {"gigachat", &gpt2_rules}, {"a.x-4.0", &gpt2_rules},
    {"mellum", &gpt2_rules}, {"exaone4", &gpt2_rules}, {"trillion", &gpt2_rules},
    {"granite-docling", &gpt2_rules},
    {"mpt", &neox_rules}, {"olmo", &neox_rules}, {"modern-bert", &neox_rules},
    {"starcoder", &digits_rules}, {"refact", &digits_rules}, {"smollm", &digits_rules},
    {"codeshell", &digits_rules}, {"exaone", &digits_rules}, {"minerva-7b", &digits_rules},
    {"mellum2", &digits_rules},
    {"command-r", &command_r_rules},
    {"chameleon", &chameleon_rules},
    {"falcon", &falcon_rules},
    {"qwen2", &qwen2_rules}, {"deepseek-r1-qwen", &qwen2_rules}, {"kormo", &qwen2_rules},
    {"f2llmv2", &qwen2_rules}, {"megrez", &qwen2_rules},
    {"qwen35", &qwen35_rules},
    {"stablelm2", &one_digit_rules}, {"hunyuan", &one_digit_rules},
    {"solar-open", &one_digit_rules}, {"grok-2", &one_digit_rules},
    {"dbrx", &cl100k_rules}, {"smaug-bpe", &cl100k_rules}, {"glm4", &cl100k_rules},
    {"chatglm-bpe", &cl100k_rules},
    {"llama-bpe", &llama3_rules}, {"llama3", &llama3_rules}, {"llama-v3", &llama3_rules},
    {"falcon3", &llama3_rules}, {"falcon-h1", &llama3_rules}, {"pixtral", &llama3_rules},
    {"midm-2.0", &llama3_rules}, {"lfm2", &llama3_rules}, {"jina-v5-nano", &llama3_rules},
    {"laguna", &laguna_rules},
    {"minicpm5", &minicpm5_rules},
    {"bailingmoe", &bailing_rules}, {"bailingmoe2", &bailing_rules}, {"llada-moe", &bailing_rules},
    {"seed-coder", &seed_rules},
    {"exaone-moe", &exaone_moe_rules},
    {"jais-2", &jais2_rules},
    {"gpt-4o", &gpt4o_rules}, {"llama4", &gpt4o_rules}, {"kanana2", &gpt4o_rules},
    {"talkie", &gpt4o_rules}, {"minimax-m2", &gpt4o_rules},
    {"granite-embed-multi-97m", &granite_embed_rules},
    {"tekken", &tekken_rules},
    {"tiny_aya", &aya_rules}, {"cohere2moe", &aya_rules},
    {"youtu", &youtu_rules},
    {"kimi-k2", &kimi_rules},
    {"deepseek-llm", &deepseek_llm_rules},
    {"deepseek-coder", &deepseek_coder_rules},
    {"deepseek-v3", &deepseek_v3_rules}, {"hunyuan-dense", &deepseek_v3_rules},
    {"joyai-llm", &deepseek_v3_rules}, {"hy_v4", &deepseek_v3_rules},
    {"bloom", &bloom_rules}, {"poro-chat", &bloom_rules}, {"gpt3-finnish", &bloom_rules},
    {"viking", &viking_rules},
    {"spark2_5", &spark_rules}, {"afmoe", &afmoe_rules}, {"superbpe", &superbpe_rules},
    {"ufakzeka", &ufakzeka_rules},
    {"gemma4", &gemma_rules}, {"granite-embed-multi-311m", &gemma_rules},
    {"sarvam-moe", &sarvam_rules},
    {"whitespace", &whitespace_rules},
    // clang-format on
};

const struct pretok_rules *pretok_rules(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_is(name, names[i].name))
            return names[i].rules;
    }
    return NULL;
}
