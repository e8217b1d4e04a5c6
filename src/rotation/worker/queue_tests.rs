use std::collections::HashMap;

use super::*;

fn instance(number: usize) -> InstanceId {
    InstanceId::parse(&format!("i-{number:04}")).unwrap()
}

fn secret(number: usize) -> SecretId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    SecretId::from_random(&bytes)
}

fn begin(number: usize) -> Job {
    Job::Begin(secret(number))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn queue(region: usize, instance: usize) -> Queue {
    Queue::new(Bounds { region, instance })
}

fn granted(queue: &mut Queue) -> Vec<Granted> {
    std::iter::from_fn(|| queue.next()).collect()
}

#[test]
fn instances_have_turns_one_after_the_other_and_each_begins_with_its_most_overdue() {
    let mut queue = queue(4, 2);
    for (number, (lane, due)) in
        [(0, 50), (0, 10), (0, 20), (1, 40), (2, 30), (2, 35)].into_iter().enumerate()
    {
        assert!(queue.add(begin(number), &instance(lane), at(due), false));
    }
    let first = granted(&mut queue);
    let jobs: Vec<_> = first.iter().map(|one| one.job.clone()).collect();
    assert_eq!(jobs, [begin(1), begin(4), begin(3), begin(2)]);
    queue.ended(&first[1]);
    assert_eq!(granted(&mut queue).len(), 1);
}

#[test]
fn what_is_begun_goes_before_what_is_not() {
    let mut queue = queue(1, 1);
    queue.add(begin(1), &instance(0), at(1), false);
    let drive = Job::Drive(RotationId::from_random(&[1; 16]));
    queue.add(drive.clone(), &instance(0), at(99), false);
    assert_eq!(queue.next().unwrap().job, drive);
}

#[test]
fn a_job_is_known_from_its_addition_until_it_is_forgotten() {
    let mut queue = queue(2, 2);
    assert!(queue.add(begin(1), &instance(0), at(1), false));
    assert!(!queue.add(begin(1), &instance(0), at(1), false));
    let turn = queue.next().unwrap();
    assert!(!queue.add(begin(1), &instance(0), at(1), false));
    queue.ended(&turn);
    assert!(queue.knows(&turn.job));
    queue.forget(&turn.job);
    assert!(queue.add(begin(1), &instance(0), at(1), false));
    assert_eq!((queue.unbegun(), queue.waiting_for(&instance(0))), (1, 1));
}

#[test]
fn instances_that_do_not_answer_take_a_share_of_the_turns_and_still_have_theirs() {
    let mut queue = queue(8, 2);
    for lane in 0..10 {
        queue.silent(&instance(lane), true);
        for number in 0..3 {
            queue.add(begin(lane * 10 + number), &instance(lane), at(0), false);
        }
    }
    for lane in 10..20 {
        queue.add(begin(lane * 10), &instance(lane), at(5), false);
    }
    let first = granted(&mut queue);
    assert_eq!(first.len(), 8);
    assert_eq!(first.iter().filter(|one| one.doubtful).count(), 2);
    // With nothing else to do their share is the same, and none has two.
    for one in &first {
        queue.ended(one);
    }
    let mut lanes = HashMap::new();
    let mut rounds = 0;
    loop {
        let some = granted(&mut queue);
        if some.is_empty() {
            break;
        }
        assert!(some.iter().filter(|one| one.doubtful).count() <= 2);
        for one in &some {
            *lanes.entry(one.instance.clone()).or_insert(0) += 1;
            queue.ended(one);
        }
        rounds += 1;
        assert!(rounds < 40);
    }
    assert_eq!(queue.unbegun(), 0, "nobody is orphaned");
    // One that answers again has the same turns as all.
    queue.silent(&instance(0), false);
    queue.add(begin(900), &instance(0), at(0), false);
    assert!(!queue.next().unwrap().doubtful);
}

/// What a simulated instance is like.
#[derive(Clone, Copy, PartialEq)]
enum Nature {
    Sound,
    Slow,
    Dead,
}

/// Ten thousand secrets on five hundred instances, all due within an hour, on a
/// clock that is moved: no bound is exceeded, everybody but the dead is served
/// in time, and nobody much later than others that were due with them.
#[test]
fn ten_thousand_due_within_an_hour_are_served_without_storm_or_starvation() {
    const SECRETS: usize = 10_000;
    const INSTANCES: usize = 500;
    let bounds = Bounds { region: 20, instance: 2 };
    let mut queue = Queue::new(bounds);
    let nature = |lane: usize| match lane {
        0..=9 => Nature::Dead,
        10..=19 => Nature::Slow,
        _ => Nature::Sound,
    };
    let lanes: HashMap<InstanceId, usize> = (0..INSTANCES).map(|lane| (instance(lane), lane)).collect();
    let due = |number: usize| i64::try_from(number * 3_600 / SECRETS).unwrap();
    let (mut next, mut running) = (0, Vec::<(i64, Granted)>::new());
    let (mut waited, mut served, mut most) = (HashMap::new(), 0, 0);
    let mut now = 0;
    while served < SECRETS - SECRETS / INSTANCES * 10 {
        while next < SECRETS && due(next) <= now {
            queue.add(begin(next), &instance(next % INSTANCES), at(due(next)), false);
            next += 1;
        }
        let (over, still): (Vec<_>, Vec<_>) = running.into_iter().partition(|(end, _)| *end <= now);
        running = still;
        for (_, turn) in over {
            let lane = lanes[&turn.instance];
            queue.ended(&turn);
            if nature(lane) == Nature::Dead {
                queue.silent(&turn.instance, true);
                queue.again(turn.job, &turn.instance, at(now), true);
            } else {
                served += 1;
                queue.forget(&turn.job);
            }
        }
        for turn in granted(&mut queue) {
            let lane = lanes[&turn.instance];
            let seconds = match nature(lane) {
                Nature::Sound => 4,
                Nature::Slow => 50,
                Nature::Dead => 180,
            };
            if nature(lane) == Nature::Sound {
                let Job::Begin(id) = &turn.job else { panic!() };
                let number = usize::from_str_radix(id.as_str().get(..16).unwrap(), 16).unwrap();
                waited.insert(number, now - due(number));
            }
            running.push((now + seconds, turn));
        }
        most = most.max(running.len());
        let mut by_lane = HashMap::new();
        for (_, turn) in &running {
            *by_lane.entry(turn.instance.clone()).or_insert(0) += 1;
        }
        assert!(running.len() <= bounds.region && by_lane.values().all(|count| *count <= bounds.instance));
        now += 1;
        assert!(now < 3_900, "not done soon after the hour: {served} of {SECRETS} at {now} s, {next} due");
    }
    assert_eq!(most, bounds.region, "the bound is used");
    let longest = waited.values().max().unwrap();
    assert!(*longest < 300, "somebody waited {longest} s");
}
