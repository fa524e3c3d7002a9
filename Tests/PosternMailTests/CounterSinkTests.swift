import Foundation
import PosternMail
import Testing

@Suite("counters")
struct CounterSinkTests {
    enum Fruit: Int, CounterSet {
        case apples, pears, weight

        var name: CounterName {
            switch self {
            case .apples: CounterName("fruit_total", "kind", "apple")
            case .pears: CounterName("fruit_total", "kind", "pear")
            case .weight: CounterName("fruit_grams_total")
            }
        }
    }

    @Test("names as metrics tools read them")
    func names() {
        #expect(
            Fruit.allCases.map { "\($0.name)" } == [
                #"fruit_total{kind="apple"}"#, #"fruit_total{kind="pear"}"#, "fruit_grams_total",
            ])
    }

    @Test("all are read, in the order of their declaration")
    func readings() {
        let sink = CounterSink<Fruit>()
        #expect(sink.readings.map(\.value) == [0, 0, 0])
        sink.count(.pears)
        sink.count(.pears)
        sink.count(.weight, by: 120)
        sink.count(.apples, by: -1)  // nothing is ever taken back
        #expect(
            sink.readings == [
                CounterReading(Fruit.apples.name, 0), CounterReading(Fruit.pears.name, 2),
                CounterReading(Fruit.weight.name, 120),
            ])
        #expect(sink[.pears] == 2)
    }

    @Test("no count is lost between threads")
    func threads() {
        let sink = CounterSink<Fruit>()
        let all = DispatchGroup()
        for _ in 0..<8 {
            all.enter()
            Thread.detachNewThread {
                for _ in 0..<1000 { sink.count(.apples) }
                all.leave()
            }
        }
        all.wait()
        #expect(sink[.apples] == 8000)
    }
}
