#pragma once

#include <array>
#include <string_view>

namespace baton::test {

/// Schemas that together use every supported keyword.
inline constexpr std::array<std::string_view, 11> kSchemas = {
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":5})"
    R"(,"age":{"type":"integer","minimum":0,)"
    R"("maximum":120},"ok":{"type":"boolean"}},"required":["name","ok"],"additionalProperties":false})",
    R"({"enum":["red","green","re\"d",12,123,null,{"a":[1]}]})",
    R"({"type":"array","items":{"type":"integer","minimum":-17,"maximum":1203},"minItems":2,"maxItems":4})",
    R"({"$defs":{"tree":{"type":"object","properties":{"v":{"type":"number"})"
    R"(,"kids":{"type":"array","maxItems":2,)"
    R"("items":{"$ref":"#/$defs/tree"}}},"required":["v"],"additionalProperties":false}})"
    R"(,"$ref":"#/$defs/tree"})",
    R"({"anyOf":[{"type":"null"},{"type":"string","minLength":2,"maxLength":3},{"allOf":[{"const":"é€"}]}]})",
    R"({"type":"object","properties":{"nä":{"type":["null","boolean"]}},"additionalProperties":)"
    R"({"type":"integer"}})",
    R"({"type":"array","prefixItems":[{"type":"boolean"},{"type":"null"}])"
    R"(,"items":{"type":"string"},"minItems":1})",
    R"({"type":"object"})",
    R"({"oneOf":[{"type":"number","minimum":0},{"type":"object","properties":{"next":{"$ref":"#"}},)"
    R"("required":["next"],"additionalProperties":false}],"title":"chain","description":"ends in a number"})",
    R"({"oneOf":[{"$ref":"#/$defs/cat"},{"$ref":"#/$defs/dog"}],"discriminator":{"propertyName":"kind"},)"
    R"("$defs":{"cat":{"type":"object","properties":{"kind":{"const":"cat"},"weight":{"type":"number",)"
    R"("minimum":-1,"maximum":2}},"required":["kind","weight"]},"dog":{"type":"object","properties":)"
    R"({"kind":{"enum":["dog","wolf"]}},"required":["kind"],"additionalProperties":{"type":"null"}}}})",
    R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"},)"
    R"("a\nb":{"type":"array"}},"additionalProperties":false})",
};

}  // namespace baton::test
