# about: a node with nothing to do: memory, processor time
# builds: vdenode vdecable

measure() {
    node idle --no-listen
    local pid=${node_pid[idle]} before seconds=10
    before=$(ticks "$pid")
    sleep $seconds
    group "an idle node"
    figure vdenode "processor time" "$(calc %.2f "($(ticks "$pid") - $before) / $seconds")" "% of a core"
    figure vdenode memory "$(resident "$pid")" MB
    goal vdenode memory '<= 15'
}
