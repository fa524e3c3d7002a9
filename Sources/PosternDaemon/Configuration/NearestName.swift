// Guesses what an unknown key was meant to be.

/// Longest name that is compared, in octets; declared names are shorter.
private let maxComparedOctets = 64

/// The name that is nearest to `name`, if no more than a third of its letters differ; nil if none is so near.
func nearest(to name: String, in names: [String]) -> String? {
    guard name.utf8.count <= maxComparedOctets else { return nil }
    let octets = Array(name.utf8.map { $0 == 0x2D ? 0x5F : $0 | 0x20 })  // upper case and hyphens are slips as well
    let distances = names.map { ($0, editDistance(octets, Array($0.utf8.map { $0 | 0x20 }))) }
    guard let (near, distance) = distances.min(by: { $0.1 < $1.1 }) else { return nil }
    return distance <= max(1, near.utf8.count / 3) ? near : nil
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
