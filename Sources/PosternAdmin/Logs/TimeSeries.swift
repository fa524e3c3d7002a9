// Counts over time in a fixed number of bars: they begin narrow, and are made wider whenever there are too many. Every
// width is a multiple of the one before it, so that what was counted stays right.

internal import PosternMail

struct TimeSeries {
    /// What is counted, from the bottom of a bar to its top.
    enum Kind: Int, CaseIterable {
        case queued, quarantined, deferred, refused
    }

    /// Most bars.
    static let maxBars = 96
    /// Widths in seconds.
    private static let widths: [Int64] = [300, 900, 3600, 21_600, 86_400, 604_800, 2_419_200, 9_676_800, 38_707_200]

    struct Bar: Equatable {
        /// When it begins.
        var start: UnixTime
        var counts: [Int]

        func count(_ kind: Kind) -> Int { counts.dropFirst(kind.rawValue).first ?? 0 }
        var total: Int { counts.reduce(0, +) }
    }

    /// Seconds east of Greenwich: days begin at midnight here.
    let offset: Int64
    private var step = 0
    private var bars: [Int64: [Int]] = [:]

    init(offset: Int64) { self.offset = offset }

    var width: Int64 { Self.widths[step] }

    mutating func add(_ kind: Kind, at time: UnixTime) {
        let place = (time.seconds + offset).dividedDown(by: width)
        guard bars[place] == nil else {
            bars[place]?[kind.rawValue] += 1
            return
        }
        var counts = [Int](repeating: 0, count: Kind.allCases.count)
        counts[kind.rawValue] = 1
        bars[place] = counts
        while span > Self.maxBars, step + 1 < Self.widths.count { widen() }
    }

    /// Bars from the first to the last, the empty ones between them too.
    private var span: Int64 {
        guard bars.count > 1, let first = bars.keys.min(), let last = bars.keys.max() else { return Int64(bars.count) }
        return last - first + 1
    }

    private mutating func widen() {
        let ratio = Self.widths[step + 1] / Self.widths[step]
        step += 1
        var wider: [Int64: [Int]] = [:]
        for (place, counts) in bars {
            let known = wider[place.dividedDown(by: ratio)] ?? [Int](repeating: 0, count: counts.count)
            wider[place.dividedDown(by: ratio)] = zip(known, counts).map(+)
        }
        bars = wider
    }

    /// All bars in order, the empty ones between them too.
    var all: [Bar] {
        guard let first = bars.keys.min(), let last = bars.keys.max() else { return [] }
        return (first...max(first, min(last, first + Int64(Self.maxBars)))).map { place in
            Bar(
                start: UnixTime(seconds: place * width - offset),
                counts: bars[place] ?? [Int](repeating: 0, count: Kind.allCases.count))
        }
    }
}
