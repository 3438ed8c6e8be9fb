# Notes of a part (lib.sh says what they are) to figures: medians, ratios, and whether goals are reached.
def median: sort | length as $n
    | if $n % 2 == 1 then .[($n - 1) / 2] else (.[$n / 2 - 1] + .[$n / 2]) / 2 end;
def rounded: if . == 0 then 0 else (. | fabs | log10 | floor) as $digits
    | ((. * pow(10; 3 - $digits) | round) / pow(10; 3 - $digits)) end;
def reached($goal): if $goal == "" then null else ($goal | split(" ")) as [$sign, $bound]
    | if $sign == ">=" then . >= ($bound | tonumber) else . <= ($bound | tonumber) end end;

[split("\n")[] | select(. != "") | split("\t")]
| reduce .[] as $note ([]; if $note[0] == "group" then . + [{title: $note[1], notes: []}]
    else .[-1].notes += [$note] end)
| map({
    title,
    figures: (reduce (.notes[] | select(.[0] == "figure")) as [$_, $subject, $measure, $value, $unit]
        ([]; map(.subject == $subject and .measure == $measure) as $here
        | if any($here[]; .) then .[$here | index(true)].samples += [$value | tonumber]
          else . + [{$subject, $measure, $unit, samples: [$value | tonumber]}] end)
        | map(. + {median: (.samples | median | rounded)})),
    notes
})
| map(.figures as $figures
    | def of($subject; $measure): [$figures[] | select(.subject == $subject and .measure == $measure)]
          | if length > 0 then .[0].samples | median else null end;
    . + {
        ratios: [.notes[] | select(.[0] == "ratio")
            | . as [$_, $subject, $base, $measure, $goal]
            | of($subject; $measure) as $a | of($base; $measure) as $b
            | select($a != null and $b != null and $b != 0)
            | {$subject, $base, $measure, ratio: ($a / $b | rounded), $goal, reached: ($a / $b | reached($goal))}],
        goals: [.notes[] | select(.[0] == "goal")
            | . as [$_, $subject, $measure, $goal]
            | of($subject; $measure) as $a | select($a != null)
            | {$subject, $measure, median: ($a | rounded), $goal, reached: ($a | reached($goal))}]
    } | del(.notes))
| {$part, $about, $command, $date, $machine, $commit, seconds: ($seconds | tonumber), runs: ($runs | tonumber), groups: .}
