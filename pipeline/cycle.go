package pipeline

// maxCycles bounds the list: every cycle is as long as the pipeline at worst.
const maxCycles = 10

// cycles returns the ways from a step back to itself, each beginning and ending
// with the same step. graph holds for every step those it depends on. The walk is
// depth first, in the order of the file; an edge back to a step that the walk is
// still below of closes a cycle.
func cycles(graph [][]int) [][]int {
	var found [][]int
	var way []int
	place := make([]int, len(graph)) // 1 + index in way; -1 when all below is seen
	var visit func(step int)
	visit = func(step int) {
		way = append(way, step)
		place[step] = len(way)
		for _, to := range graph[step] {
			switch at := place[to]; {
			case at == 0:
				visit(to)
			case at > 0 && len(found) < maxCycles:
				found = append(found, append(append([]int{}, way[at-1:]...), to))
			}
		}
		way = way[:len(way)-1]
		place[step] = -1
	}
	for step := range graph {
		if place[step] == 0 {
			visit(step)
		}
	}
	return found
}

// cyclePath writes a cycle as a -> b -> a.
func cyclePath(cycle []int, steps []Step) string {
	text := steps[cycle[0]].Name
	for _, step := range cycle[1:] {
		text += " -> " + steps[step].Name
	}
	return text
}
