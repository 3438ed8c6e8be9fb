# Figures of a part to tables in Markdown, legible as they are.
def columns: explode | length;
def padded($to): . + (" " * ([$to - columns, 0] | max));
def table: . as $rows
    | [range(0; $rows[0] | length) as $i | [$rows[][$i] | columns] | max] as $widths
    | [$rows[] | [range(0; length) as $i | .[$i] | padded($widths[$i])] | "| " + join(" | ") + " |"]
    | [.[0], ("|" + ([$widths[] | "-" * (. + 2)] | join("|")) + "|")] + .[1:] | .[];
def unique_in_order: reduce .[] as $x ([]; if index([$x]) then . else . + [$x] end);
def verdict: if .goal == "" then "" else (.goal | sub(">="; "≥") | sub("<="; "≤"))
    + (if .reached then ", reached" else ", **missed**" end) end;

.groups[] | . as $group
| "\n### \(.title)\n",
  (([.figures[].measure] | unique_in_order) as $measures
    | ([.figures[].subject] | unique_in_order) as $subjects
    | ([[""] + [$measures[] as $m | $m + ", " + ([$group.figures[] | select(.measure == $m)][0].unit)]]
        + [$subjects[] as $s | [$s] + [$measures[] as $m
            | [$group.figures[] | select(.subject == $s and .measure == $m)]
            | if length > 0 then .[0].median | tostring else "" end]]) | table),
  (if (.ratios + .goals) | length > 0 then "",
    ([["", "is", "goal"]]
        + [.ratios[] | ["\(.subject) / \(.base), \(.measure)", (.ratio | tostring), verdict]]
        + [.goals[] | ["\(.subject), \(.measure)", (.median | tostring), verdict]] | table)
    else empty end)
