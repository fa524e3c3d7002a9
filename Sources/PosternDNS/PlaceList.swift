// A queue over a cache's place numbers: a doubly linked list in two arrays, so that any place can leave it at once.

struct PlaceList: Sendable {
    /// Neighbours by place; -1 stands for none.
    private var newer: [Int32] = []
    private var older: [Int32] = []
    private var first: Int32 = -1  // newest
    private var last: Int32 = -1  // oldest

    /// The place that was inserted before all others.
    var oldest: Int? { last < 0 ? nil : Int(last) }

    /// Adds a place, as the newest. Places are small numbers, used anew after `remove`.
    mutating func insert(_ place: Int) {
        while newer.count <= place {
            newer.append(-1)
            older.append(-1)
        }
        newer[place] = -1
        older[place] = first
        if first >= 0 { newer[Int(first)] = Int32(place) } else { last = Int32(place) }
        first = Int32(place)
    }

    mutating func remove(_ place: Int) {
        let (before, after) = (newer[place], older[place])
        if before >= 0 { older[Int(before)] = after } else { first = after }
        if after >= 0 { newer[Int(after)] = before } else { last = before }
        newer[place] = -1
        older[place] = -1
    }
}
