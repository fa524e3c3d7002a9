// Guesses what an unknown key was meant to be.

/// Longest name that is compared, in octets; declared names are shorter.
private let maxComparedOctets = 64

/// The name that is nearest to `name`, if no more than a third of its letters differ; nil if none is so near.
func nearest(to name: String, in names: [String]) -> String? {
    guard name.utf8.count <= maxComparedOctets else { return nil }
    let octets = Array(name.utf8.map { $0 == 0x2D ? 0x5F : $0 | 0x20 })  // upper case and hyphens are slips as well
    var best: (name: String, distance: Int)?
    for name in names {
        let limit = max(1, name.utf8.count / 3)
        guard abs(name.utf8.count - octets.count) <= limit else { continue }  // the distance is no less than that
        let distance = editDistance(octets, Array(name.utf8.map { $0 | 0x20 }))
        if distance <= limit, distance < best?.distance ?? .max { best = (name, distance) }
    }
    return best?.name
}

/// How many letters must be inserted, dropped, replaced or swapped with their neighbour to make one the other
/// (optimal string alignment distance).
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for (row, leftOctet) in left.enumerated() {
        var current = [row + 1]
        for (column, rightOctet) in right.enumerated() {
            var distance = min(
                last[column + 1] + 1, current[column] + 1, last[column] + (leftOctet == rightOctet ? 0 : 1))
            if row > 0, column > 0, leftOctet == right[column - 1], left[row - 1] == rightOctet {
                distance = min(distance, beforeLast[column - 1] + 1)
            }
            current.append(distance)
        }
        (beforeLast, last) = (last, current)
    }
    return last.last ?? 0
}
