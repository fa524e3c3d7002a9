// Counts as values: the same arithmetic as a ledger's, whatever is counted; taking in another's counts; other clocks; and
// a limit's shape as text.

import AdmissionSupport
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmission

@Suite("limits' cells")
struct LimitCellsTests {
    private static func shape(_ window: LimitWindow, isWide: Bool, _ spans: [Int64]) throws -> LimitShape {
        try #require(
            LimitShape(name: "a", per: "sender", count: .octets, spans: spans, window: window, isWide: isWide))
    }

    @Test("they count as a ledger's records do, and become one and come from one")
    func records() throws {
        var random = SeededRandom(seed: 7)
        for window in [LimitWindow.sliding, .fixed] {
            for isWide in [false, true] {
                let shape = try Self.shape(window, isWide: isWide, [1000, 7_777, 60_000, 86_400_000])
                let slab = LimitSlab(shape)
                var time: Int64 = 1_790_000_000_000
                let number = slab.insert(Array("key".utf8), bucket: 0, time: time)
                var cells = LimitCells(shape)
                slab.add(1, to: number, at: time)
                cells.add(1, at: time)
                for step in 0..<2000 {
                    time += Int64.random(in: 0...(step % 20 == 0 ? 90_000 : 900), using: &random)
                    if Int.random(in: 0..<3, using: &random) > 0 {
                        let amount = Int.random(in: 1...(isWide ? 1 << 34 : 1000), using: &random)
                        slab.add(amount, to: number, at: time)
                        cells.add(amount, at: time)
                    }
                    for span in shape.spans.indices {
                        #expect(cells.used(span, at: time) == slab.used(number, span, at: time), "step \(step)")
                    }
                    let row = LimitRow(slab, number)
                    #expect(LimitCells(row) == cells && cells.words == row.words, "step \(step)")
                }
            }
        }
    }

    @Test("counts of two ledgers: their sum, or the greater of both, which may be taken twice")
    func meetings() throws {
        var random = SeededRandom(seed: 8)
        for window in [LimitWindow.sliding, .fixed] {
            let shape = try Self.shape(window, isWide: true, [12_000, 3_600_000])
            for round in 0..<300 {
                var (one, other, all) = (LimitCells(shape), LimitCells(shape), LimitCells(shape))
                var time: Int64 = 1_790_000_000_000
                for _ in 0..<30 {
                    time += Int64.random(in: 0...3000, using: &random)
                    let amount = Int.random(in: 1...9, using: &random)
                    if Bool.random(using: &random) { one.add(amount, at: time) } else { other.add(amount, at: time) }
                    all.add(amount, at: time)
                }
                var sum = one
                sum.meet(other, .sum)
                for span in shape.spans.indices where window == .sliding {
                    #expect(sum.used(span, at: time) == all.used(span, at: time), "round \(round)")
                }
                // A window that was begun before the other's counts all of both.
                if window == .fixed { #expect(sum.used(1, at: time) == all.used(1, at: time), "round \(round)") }
                var most = one
                most.meet(other, .most)
                let once = most
                most.meet(other, .most)
                #expect(most == once)
                #expect(once.used(1, at: time) >= max(one.used(1, at: time), other.used(1, at: time)))
                #expect(once.used(1, at: time) <= sum.used(1, at: time))
                var same = all
                same.meet(all, .most)
                #expect(same == all)
            }
        }
    }

    @Test("by another clock what counts still counts, for a cell more at most")
    func clocks() throws {
        var random = SeededRandom(seed: 9)
        for window in [LimitWindow.sliding, .fixed] {
            let shape = try Self.shape(window, isWide: false, [12_000])
            for _ in 0..<500 {
                var cells = LimitCells(shape)
                var time: Int64 = 1_790_000_000_000
                var all: [Int64] = []
                for _ in 0..<5 {
                    time += Int64.random(in: 0...4000, using: &random)
                    cells.add(1, at: time)
                    all.append(time)
                }
                let shift = Int64.random(in: -9_000_000...9_000_000, using: &random)
                let moved = cells.shifted(by: shift)
                for ahead in stride(from: Int64(0), through: 30_000, by: 500) {
                    let there = moved.used(0, at: time + ahead + shift)
                    if window == .fixed {
                        // But for the second that a window's start is told in.
                        #expect(there <= cells.used(0, at: max(time, time + ahead - 1000)))
                        #expect(there >= cells.used(0, at: time + ahead + 1000))
                    } else {
                        // All of the span that is over, and no more than two cells before it.
                        #expect(there >= all.count { $0 >= time + ahead - 12_000 })
                        #expect(there <= all.count { $0 >= time + ahead - 14_000 })
                    }
                }
            }
        }
    }

    @Test("what is no row of its shape is refused")
    func bounds() throws {
        let shape = try Self.shape(.sliding, isWide: false, [1000])
        #expect(LimitCells(shape, last: 0, counts: Array(repeating: 0, count: 12)) == nil)
        #expect(LimitCells(shape, last: -1, counts: Array(repeating: 0, count: 13)) == nil)
        #expect(LimitCells(shape, last: 0, counts: Array(repeating: -1, count: 13)) == nil)
        #expect(LimitCells(shape, last: 1 << 50, counts: Array(repeating: 0, count: 13)) == nil)
        #expect(LimitCells(shape, last: 5, counts: Array(repeating: 1, count: 13)) != nil)
        let row = LimitRow(
            shape: shape, key: LimitKey(text: "a"), last: 0, blockedUntil: 0, isBlockedByAdmin: false, words: [1])
        #expect(LimitCells(row) == nil)
    }

    @Test("a shape's text says all of it, and nothing else is read as one")
    func texts() throws {
        for (name, window, isWide, spans, text) in [
            ("per account", LimitWindow.sliding, false, [3_600_000, 60_000], "per%20account:sender:octets:3600s,60s"),
            ("a:b%", .fixed, false, [1500], "a%3Ab%25:sender:octets:1500msf"),
            ("\u{e9}", .sliding, true, [1000], "%C3%A9:sender:octets:1sw"),
            ("", .fixed, true, [LimitShape.maxSpan], ":sender:octets:2678400sfw"),
        ] as [(String, LimitWindow, Bool, [Int64], String)] {
            let shape = try #require(
                LimitShape(name: name, per: "sender", count: .octets, spans: spans, window: window, isWide: isWide))
            #expect(shape.text == text)
            #expect(LimitShape(text: text) == shape)
        }
        for text in [
            "", "a:b:octets", "a:b:octets:", "a:b:octets:0s", "a:b:stamps:1s", "a:b:octets:1s:c", "a%4:b:octets:1s",
            "a%zz:b:octets:1s", "a:b:octets:1", "a:b:octets:-1s", "a:b:octets:99999999999999999999s",
            "a:b:octets:2678401s", "a:b:octets:1s,1s,1s,1s,1s,1s,1s,1s,1s", "a:b:octets:1swf", "%FF:b:octets:1s",
        ] { #expect(LimitShape(text: text) == nil, "\(text)") }
        let sample = Array("per%20account:client/32/64,sender:recipients:3600s,1500msfw".utf8)
        Mutations.of([sample], count: 3000, seed: 10) { octets in
            let text = String(decoding: octets, as: UTF8.self)
            if let shape = LimitShape(text: text) { #expect(LimitShape(text: shape.text) == shape, "\(text)") }
        }
    }
}
